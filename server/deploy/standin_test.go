package deploy

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// The stand-ins take the place of two programs for the commands of the runbook: this test's own program, started under their name. An
// installation of the walks is a folder, WALK_DIR:
//
//	secrets/KEY   what the pods see of the secret verification-status, a file for each key
//	logs/POD      the log of a replica
//	env           the environment of a replica
//
// Kubernetes takes a minute or two to bring a changed secret to the pods. Here it is there at once.
var standIns = map[string]func(args []string) error{"kubectl": kubectl, "redis-cli": redisCLI}

// standIn runs as one of the stand-ins if the program was started under its name.
func standIn() {
	run, is := standIns[filepath.Base(os.Args[0])]
	if !is {
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

const (
	ofThisService = "app.kubernetes.io/name=verification-status"
	theSecret     = "verification-status"
)

// kubectl knows the forms that the runbook uses and refuses others.
func kubectl(args []string) error {
	dir := os.Getenv("WALK_DIR")
	switch {
	case len(args) > 2 && args[0] == "logs" && args[1] == "-l" && args[2] == ofThisService:
		return kubectlLogs(filepath.Join(dir, "logs"), args[3:])
	case len(args) == 5 && args[0] == "get" && args[1] == "secret" && args[2] == theSecret && args[3] == "-o":
		key, _ := strings.CutPrefix(args[4], "jsonpath={.data.")
		text, err := os.ReadFile(filepath.Join(dir, "secrets", strings.TrimSuffix(key, "}")))
		fmt.Print(base64.StdEncoding.EncodeToString(text))
		return err
	case slices.Equal(args, []string{"patch", "secret", theSecret, "--patch-file=/dev/stdin"}):
		return kubectlPatch(filepath.Join(dir, "secrets"), os.Stdin)
	case len(args) == 4 && args[0] == "set" && args[1] == "env" && args[2] == "deploy/verification-status":
		return kubectlSetEnv(filepath.Join(dir, "env"), args[3])
	case len(args) > 3 && args[0] == "exec" && args[1] == "deploy/verification-status" && args[2] == "--" && args[3] == "/server":
		env, err := os.ReadFile(filepath.Join(dir, "env"))
		if err != nil {
			return err
		}
		return syscall.Exec(os.Getenv("WALK_SERVER"), args[3:], strings.Split(string(env), "\n"))
	}
	return fmt.Errorf("the stand-in of kubectl does not know: kubectl %s", strings.Join(args, " "))
}

// kubectlSetEnv changes one setting of the Deployment. The walk replaces the replicas by rollOut, as Kubernetes would.
func kubectlSetEnv(file, setting string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(setting, "=")
	env := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return strings.HasPrefix(line, name+"=") })
	fmt.Println("deployment.apps/verification-status env updated")
	return os.WriteFile(file, []byte(strings.Join(append(env, setting), "\n")), 0o600)
}

// kubectlLogs prints the logs of all replicas. Without --tail, kubectl prints the last ten lines of each pod of a selector.
func kubectlLogs(dir string, flags []string) error {
	lines := 10
	for _, flag := range flags {
		switch name, _, _ := strings.Cut(flag, "="); name {
		case "--tail":
			lines = 1 << 30 // the runbook has --tail=-1 alone
		case "--since": // the walk is younger
		default:
			return fmt.Errorf("the stand-in of kubectl does not know: kubectl logs %s", flag)
		}
	}
	logs, err := os.ReadDir(dir)
	for _, log := range logs {
		text, err2 := os.ReadFile(filepath.Join(dir, log.Name()))
		err = errors.Join(err, err2)
		all := strings.SplitAfter(string(text), "\n")
		fmt.Print(strings.Join(all[max(0, len(all)-1-lines):], ""))
	}
	return err
}

// kubectlPatch changes the keys of a secret that the patch names, and no other. A pod sees the new file under the old name at once,
// never a part of it.
func kubectlPatch(dir string, patch io.Reader) error {
	var secret struct {
		Data map[string][]byte `json:"data"`
	}
	decoder := json.NewDecoder(patch)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&secret); err != nil {
		return err
	}
	for key, text := range secret.Data {
		file := filepath.Join(dir, key)
		if err := os.WriteFile(file+".new", text, 0o600); err != nil {
			return err
		}
		if err := os.Rename(file+".new", file); err != nil {
			return err
		}
	}
	fmt.Println("secret/" + theSecret + " patched")
	return nil
}

// redisCLI is redis-cli with the address of the walk's Redis.
func redisCLI(args []string) error {
	host, port, err := net.SplitHostPort(os.Getenv("WALK_REDIS"))
	if err != nil {
		return err
	}
	program, err := exec.LookPath(os.Getenv("WALK_REDIS_CLI"))
	if err != nil {
		return err
	}
	return syscall.Exec(program, append([]string{"redis-cli", "-h", host, "-p", port}, args...), os.Environ())
}

// standInEnv returns an environment in which kubectl and redis-cli are the stand-ins of this walk.
func (w *walk) standInEnv() []string {
	w.t.Helper()
	return append(standInEnv(w.t, w.dir), "WALK_SERVER="+w.program, "WALK_REDIS="+w.redis.Addr, "WALK_REDIS_CLI="+need(w.t, "redis-cli", "redis-tools"))
}

// standInEnv returns an environment in which kubectl and redis-cli are the stand-ins, for the installation in a folder.
func standInEnv(t testing.TB, dir string) []string {
	t.Helper()
	bin := filepath.Join(dir, "bin")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name := range standIns {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	return append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "WALK_DIR="+dir)
}
