package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// baseOf returns the base that the Dockerfile has by default: GO_IMAGE or BASE_IMAGE. No registry is asked for it: the tests make a
// stand-in under its name.
func baseOf(t *testing.T, arg string) string {
	t.Helper()
	return firstMatch(t, "Dockerfile", `(?m)^ARG `+arg+`=(\S+)$`)
}

const (
	// buildLimit bounds one command of buildah or podman. A cold build compiles everything: minutes, and on a busy machine many.
	buildLimit = 45 * time.Minute
	// cleanupTime is what a test that hangs leaves of its time to the end of its containers.
	cleanupTime = 30 * time.Second
)

// within returns when a command that starts now must have ended: before the test's own end, which would leave its containers behind.
func (r *imageRig) within() time.Time {
	end := time.Now().Add(buildLimit)
	if deadline, ok := r.t.Deadline(); ok && deadline.Add(-cleanupTime).Before(end) && !r.ending {
		return deadline.Add(-cleanupTime)
	}
	return end
}

// imageRig builds images with buildah and runs them with podman: no daemon, no registry, and a storage of its own.
type imageRig struct {
	t    *testing.T
	env  []string
	base string // the folder with the files of the stand-in for BASE_IMAGE
	// volumes are arguments of buildah: the folders of this machine that the stand-in for GO_IMAGE shows.
	volumes []string
	configs map[string]pushedConfig
	ending  bool // the test's containers are removed
}

func newImageRig(t *testing.T) *imageRig {
	t.Helper()
	for _, program := range []string{"buildah", "podman", "runc", "git"} {
		need(t, program, program)
	}
	if os.Geteuid() != 0 {
		t.Skip("images are built and run by root: sudo env PATH=\"$PATH\" go test -count=1 ./server/deploy")
	}
	dir := t.TempDir()
	storage, engine := filepath.Join(dir, "storage.conf"), filepath.Join(dir, "containers.conf")
	writeFile(t, storage, "[storage]\ndriver = \"vfs\"\ngraphroot = \""+dir+"/graph\"\nrunroot = \""+dir+"/run\"\n")
	// Without systemd, and for a root that may not raise limits.
	writeFile(t, engine, "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nruntime = \"runc\"\n"+
		"[containers]\ndefault_ulimits = [\"nofile=8192:8192\", \"nproc=4096:4096\"]\n")
	r := &imageRig{t: t, base: filepath.Join(dir, "base"), configs: map[string]pushedConfig{}, env: append(os.Environ(),
		"CONTAINERS_STORAGE_CONF="+storage, "CONTAINERS_CONF="+engine, "BUILDAH_ISOLATION=chroot", "TMPDIR="+dir,
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")}
	// What is still mounted cannot be removed with the folder.
	t.Cleanup(func() {
		r.ending = true
		r.try("podman", "rm", "--all", "--force")
		r.try("buildah", "rm", "--all")
	})
	r.standInForBase()
	r.standInForGo(dir)
	return r
}

// standInForBase makes an image with what the server gets from the real base: authorities, time zones, and a user without rights.
func (r *imageRig) standInForBase() {
	r.t.Helper()
	writeFile(r.t, filepath.Join(r.base, "etc/passwd"), "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
	writeFile(r.t, filepath.Join(r.base, "etc/group"), "root:x:0:\nnonroot:x:65532:\n")
	authorities, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		r.t.Skip("this machine has no authorities: apt-get install ca-certificates")
	}
	writeFile(r.t, filepath.Join(r.base, "etc/ssl/certs/ca-certificates.crt"), string(authorities))
	if err := os.CopyFS(filepath.Join(r.base, "usr/share/zoneinfo"), os.DirFS("/usr/share/zoneinfo")); err != nil {
		r.t.Skipf("this machine has no time zones: apt-get install tzdata (%v)", err)
	}
	r.image(baseOf(r.t, "BASE_IMAGE"), r.base, "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\nUSER 65532\nWORKDIR /home/nonroot\n")
}

// standInForGo makes an empty image in which /usr is that of this machine, with its shell and git, and /goroot is the version of Go that
// go.mod names. The real image sets GOTOOLCHAIN too.
func (r *imageRig) standInForGo(dir string) {
	r.t.Helper()
	root := filepath.Join(dir, "go")
	for _, name := range []string{"usr", "goroot", "go", "root", "tmp", "etc/ssl"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, name := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil {
			r.t.Fatal(err)
		}
	}
	r.image(baseOf(r.t, "GO_IMAGE"), root, "ENV PATH=/goroot/bin:/usr/bin GOPATH=/go GOTOOLCHAIN=local HOME=/root\n")
	r.volumes = []string{"--volume=/usr:/usr:ro", "--volume=/etc/ssl:/etc/ssl:ro", "--volume=" + goEnv(r.t, "GOROOT") + ":/goroot:ro"}
}

// image makes an image of a folder, with more lines of a Dockerfile.
func (r *imageRig) image(name, folder, lines string) {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "Dockerfile")
	writeFile(r.t, file, "FROM scratch\nCOPY . /\n"+lines)
	r.run("buildah", "build", "--quiet", "--timestamp=0", "--file="+file, "--tag="+name, folder)
}

// release builds a release: the bases are named by the digests of the stand-ins.
func (r *imageRig) release(tree, umask, name string, args ...string) {
	r.t.Helper()
	r.build(tree, umask, []string{"GO_IMAGE=" + r.pinned("GO_IMAGE"), "BASE_IMAGE=" + r.pinned("BASE_IMAGE")}, append([]string{"--release", name}, args...))
}

// build runs server/deploy/image in a source tree, with further variables. The stand-ins are the only images that it can find.
func (r *imageRig) build(tree, umask string, variables, args []string) {
	r.t.Helper()
	script, what := filepath.Join(tree, "server/deploy/image"), strings.Join(args, " ")
	args = slices.Concat([]string{"-c", `umask "$1"; shift; exec "$@"`, "sh", umask, script}, args, []string{"--quiet", "--pull-never"}, r.volumes)
	ctx, cancel := context.WithDeadline(r.t.Context(), r.within())
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", args...)
	cmd.Env = slices.Concat(r.env, variables)
	started := time.Now()
	if text, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("server/deploy/image: %v\n%s", err, text)
	}
	r.t.Logf("server/deploy/image %s: %.1f s", what, time.Since(started).Seconds())
}

// digest returns the digest of an image's manifest.
func (r *imageRig) digest(name string) string {
	r.t.Helper()
	return r.run("buildah", "inspect", "--type=image", "--format={{.FromImageDigest}}", name)
}

// pinned returns the name of a base with the digest that its stand-in has here.
func (r *imageRig) pinned(arg string) string {
	r.t.Helper()
	name := baseOf(r.t, arg)
	return name + "@" + r.digest(name)
}

// imageConfig is the part of an image's configuration that the tests compare.
type imageConfig struct {
	Created time.Time
	RootFS  struct {
		DiffIDs []string `json:"diff_ids"`
	}
	Config struct {
		User        string
		Env         []string
		Entrypoint  []string
		Cmd         []string
		Labels      map[string]string
		Healthcheck *struct {
			Test    []string
			Timeout time.Duration
		}
	}
}

// pushedConfig is an image's configuration as a registry would get it, with its media type.
type pushedConfig struct {
	mediaType string
	imageConfig
}

// config returns the configuration of an image.
func (r *imageRig) config(name string) pushedConfig {
	r.t.Helper()
	if known, found := r.configs[name]; found {
		return known
	}
	folder := r.t.TempDir()
	r.run("buildah", "push", "--quiet", name, "dir:"+folder)
	var manifest struct {
		Config struct{ MediaType, Digest string }
	}
	readJSON(r.t, filepath.Join(folder, "manifest.json"), &manifest)
	config := pushedConfig{mediaType: manifest.Config.MediaType}
	readJSON(r.t, filepath.Join(folder, strings.TrimPrefix(manifest.Config.Digest, "sha256:")), &config.imageConfig)
	r.configs[name] = config
	return config
}

// run returns what a program prints, and fails the test if the program does.
func (r *imageRig) run(program string, args ...string) string {
	r.t.Helper()
	text, err := r.try(program, args...)
	if err != nil {
		r.t.Fatalf("%s %s: %v", program, strings.Join(args, " "), err)
	}
	return text
}

// try is run for a program that may fail. The error has what the program wrote to its standard error.
func (r *imageRig) try(program string, args ...string) (string, error) {
	ctx, cancel := context.WithDeadline(context.Background(), r.within())
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = r.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", &commandError{err, stderr.String()}
	}
	return strings.TrimSpace(stdout.String()), nil
}

// commandError is the failure of a program, with what it wrote.
type commandError struct {
	error
	stderr string
}

func (e *commandError) Error() string { return e.error.Error() + ": " + e.stderr }
func (e *commandError) Unwrap() error { return e.error }

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	text, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
