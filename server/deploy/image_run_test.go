package deploy

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/address"
	"example.com/verification-status/server/internal/testing/redistest"
)

// healthCommand is the health check for podman run, as an image in OCI format needs it. A list, because the image has no shell.
const healthCommand = `["/server","healthcheck"]`

// runOptions are the options with which the image runs: it needs no right and writes no file.
var runOptions = []string{"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"}

// runImage runs an image with the manifest's variables and secrets, and checks its rights, its health while Redis is away and back, and its end.
func runImage(t *testing.T, rig *imageRig, name string, options ...string) {
	redis := redistest.Start(t)
	admin := address.Free(t)
	args := append([]string{"run", "--detach", "--pull=never", "--network=host", "--name=run-" + name}, runOptions...)
	args = append(args, options...)
	args = append(args, "--volume="+secretsFolder(t, redis.Addr)+":/etc/verification-status:ro", "--env=STRIPE_API_BASE=http://127.0.0.1:9")
	for _, variable := range readManifests(t).server.Env {
		value := variable.Value
		if variable.Name == "ADMIN_ADDR" {
			value = admin
		} else if strings.HasSuffix(variable.Name, "_ADDR") {
			value = "127.0.0.1:0"
		}
		args = append(args, "--env="+variable.Name+"="+value)
	}
	container := rig.run("podman", append(args, name)...)
	t.Cleanup(func() {
		if t.Failed() {
			text, err := rig.try("podman", "logs", container)
			t.Logf("%s wrote: %s %v", name, text, err)
		}
	})
	health := func(code int) func() bool {
		return func() bool {
			_, err := rig.try("podman", "healthcheck", "run", container)
			var failed *exec.ExitError
			if errors.As(err, &failed) {
				return failed.ExitCode() == code
			}
			return err == nil && code == 0
		}
	}
	await(t, "exit code 0 of the health check", health(0))
	checkRights(t, rig.run("podman", "inspect", "--format={{.State.Pid}}", container))
	redis.Stop()
	await(t, "exit code 1 of the health check without Redis", health(1))
	redis.Start()
	await(t, "exit code 0 of the health check with Redis", health(0))

	rig.run("podman", "stop", "--time=30", container)
	if code := rig.run("podman", "inspect", "--format={{.State.ExitCode}}", container); code != "0" {
		t.Errorf("%s: SIGTERM ends it with exit code %s; want 0", name, code)
	}
}

// checkRights reads in the kernel what a process may do.
func checkRights(t *testing.T, pid string) {
	t.Helper()
	status := map[string]string{}
	for line := range strings.Lines(string(contents(t, "/proc/"+pid+"/status"))) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.Join(strings.Fields(value), " ")
	}
	const none = "0000000000000000"
	for name, want := range map[string]string{
		"Uid": "65532 65532 65532 65532", "Gid": "65532 65532 65532 65532",
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none,
		"NoNewPrivs": "1", "Seccomp": "2",
	} {
		if status[name] != want {
			t.Errorf("the process has %s %q; want %q", name, status[name], want)
		}
	}
	for line := range strings.Lines(string(contents(t, "/proc/"+pid+"/mountinfo"))) {
		if fields := strings.Fields(line); fields[4] == "/" && !strings.HasPrefix(fields[5]+",", "ro,") {
			t.Errorf("the root can be written: %s", line)
		}
	}
}

// secretsFolder makes the files of the manifest's volume, with its modes, owner and group.
func secretsFolder(t *testing.T, redisAddr string) string {
	t.Helper()
	folder := t.TempDir()
	certPEM, keyPEM, _ := certificate(t)
	for name, text := range map[string]string{
		"redis-url": "redis://" + redisAddr + "\n", "stripe-api-key": "sk_test_0123456789abcdef\n",
		"stripe-webhook-secret": webhookSecret + "\n", "tokens": "# nobody yet\n", "tls.crt": string(certPEM), "tls.key": string(keyPEM),
	} {
		path := filepath.Join(folder, name)
		writeFile(t, path, text)
		if err := os.Chmod(path, 0o440); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 0, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}
