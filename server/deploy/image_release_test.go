package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// digest64 has the form of a digest. No image has it.
var digest64 = "@sha256:" + strings.Repeat("0123456789abcdef", 4)

// A release needs both bases by digest, and says with which command one gets it. Nothing is built here.
func TestReleaseNeedsDigests(t *testing.T) {
	goImage, baseImage := baseOf(t, "GO_IMAGE"), baseOf(t, "BASE_IMAGE")
	pinnedGo, pinnedBase := goImage+digest64, baseImage+digest64
	for name, c := range map[string]struct{ goImage, baseImage, refused string }{
		"both pinned":          {pinnedGo, pinnedBase, ""},
		"Go by tag":            {goImage, pinnedBase, "GO_IMAGE"},
		"base by tag":          {pinnedGo, baseImage, "BASE_IMAGE"},
		"short digest":         {pinnedGo[:len(pinnedGo)-1], pinnedBase, "GO_IMAGE"},
		"other hash":           {pinnedGo, strings.Replace(pinnedBase, "sha256", "sha512", 1), "BASE_IMAGE"},
		"digest in upper case": {strings.ToUpper(pinnedGo), pinnedBase, "GO_IMAGE"},
		"text after it":        {pinnedGo, pinnedBase + "x", "BASE_IMAGE"},
		"empty":                {"", pinnedBase, "GO_IMAGE"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("./releasable")
			cmd.Env = append(cmd.Environ(), "GO_IMAGE="+c.goImage, "BASE_IMAGE="+c.baseImage, "REVISION=r", "VERSION=v", "CREATED=c")
			text, err := cmd.CombinedOutput()
			if c.refused == "" {
				if err != nil || len(text) > 0 {
					t.Errorf("refused: %v\n%s", err, text)
				}
				return
			}
			checkRefusal(t, text, err, c.refused)
		})
	}
}

// checkRefusal checks for one sentence that names the argument and the command that pins it.
func checkRefusal(t *testing.T, text []byte, err error, name string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err == nil || len(lines) != 1 || !strings.HasPrefix(lines[0], name+" is ") || !strings.Contains(lines[0], "skopeo inspect --format '{{.Digest}}' docker://") {
		t.Errorf("%v, %q; want one sentence about %s that names skopeo inspect", err, text, name)
	}
}

// The script refuses before it asks for buildah, and so does the Dockerfile for another builder.
func TestReleaseIsRefusedBeforeTheBuild(t *testing.T) {
	tree := commitScripts(t)
	cmd := exec.Command(filepath.Join(tree, "server/deploy/image"), "--release", "verification-status")
	cmd.Env = append(cmd.Environ(), "BASE_IMAGE="+baseOf(t, "BASE_IMAGE")+digest64)
	text, err := cmd.CombinedOutput()
	checkRefusal(t, text, err, "GO_IMAGE")

	writeFile(t, filepath.Join(tree, "new"), "not committed")
	cmd = exec.Command(filepath.Join(tree, "server/deploy/image"), "--release", "verification-status")
	cmd.Env = append(cmd.Environ(), "BASE_IMAGE="+baseOf(t, "BASE_IMAGE")+digest64, "GO_IMAGE="+baseOf(t, "GO_IMAGE")+digest64)
	if text, err := cmd.CombinedOutput(); err == nil || !strings.HasPrefix(string(text), "A release is a commit") {
		t.Errorf("with a file that is not committed: %v, %q; want a refusal", err, text)
	}

	runs := find(readDockerfile(t)[0], "RUN")
	if want := `[ -z "$RELEASE" ] || server/deploy/releasable`; len(runs) == 0 || runs[0] != want {
		t.Errorf("the Dockerfile first runs %q; want %q", runs, want)
	}
	if want := `[ -z "$RELEASE" ] || go version -m /server | grep vcs.modified=false`; !slices.Contains(runs, want) {
		t.Errorf("the Dockerfile runs %q; want %q too", runs, want)
	}
}

// commitScripts makes a repository with the scripts of the image alone, and one commit.
func commitScripts(t *testing.T) (tree string) {
	t.Helper()
	need(t, "git", "git")
	tree = t.TempDir()
	for _, name := range []string{"Dockerfile", "image", "releasable"} {
		path := filepath.Join(tree, "server/deploy", name)
		writeFile(t, path, string(contents(t, name)))
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "--all"}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "--message=All"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = tree
		cmd.Env = append(cmd.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, text)
		}
	}
	return tree
}

// An image of changes that are not committed does not have the version of the commit, and without git there is no version.
func TestTheVersionIsThatOfTheTree(t *testing.T) {
	tree, programs := commitScripts(t), t.TempDir()
	writeFile(t, filepath.Join(programs, "buildah"), "#!/bin/sh\necho \"$@\"\n")
	if err := os.Chmod(filepath.Join(programs, "buildah"), 0o755); err != nil {
		t.Fatal(err)
	}
	build := func() (string, error) {
		cmd := exec.Command(filepath.Join(tree, "server/deploy/image"), "verification-status")
		cmd.Env = append(cmd.Environ(), "PATH="+programs+":"+os.Getenv("PATH"), "GIT_CEILING_DIRECTORIES="+filepath.Dir(tree))
		text, err := cmd.CombinedOutput()
		return string(text), err
	}
	version := regexp.MustCompile(`VERSION=(\S+)`)
	committed, err := build()
	if found := version.FindStringSubmatch(committed); err != nil || found == nil || strings.Contains(found[1], "dirty") {
		t.Errorf("committed: %v, %s", err, committed)
	}
	writeFile(t, filepath.Join(tree, "server/deploy/Dockerfile"), "FROM scratch\nARG GO_IMAGE=a\nARG BASE_IMAGE=b\n")
	changed, err := build()
	if found := version.FindStringSubmatch(changed); err != nil || found == nil || !strings.HasSuffix(found[1], "-dirty") {
		t.Errorf("changed: %v, %s", err, changed)
	}
	if err := os.RemoveAll(filepath.Join(tree, ".git")); err != nil {
		t.Fatal(err)
	}
	if text, err := build(); err == nil || !strings.Contains(text, "is no whole clone") || strings.Contains(text, "fatal") {
		t.Errorf("without git: %v, %s", err, text)
	}
}

// A label that is missing is a label that is wrong.
func TestReleaseNeedsItsLabels(t *testing.T) {
	for _, empty := range []string{"REVISION", "VERSION", "CREATED"} {
		cmd := exec.Command("./releasable")
		cmd.Env = append(cmd.Environ(), "GO_IMAGE="+baseOf(t, "GO_IMAGE")+digest64, "BASE_IMAGE="+baseOf(t, "BASE_IMAGE")+digest64, "REVISION=r", "VERSION=v", "CREATED=c", empty+"=")
		text, err := cmd.CombinedOutput()
		if want := empty + " is empty, "; err == nil || !strings.HasPrefix(string(text), want) {
			t.Errorf("%v, %q; want a refusal that begins with %q", err, text, want)
		}
	}
}

// The README shows what the tests run, and the bases that the Dockerfile names.
func TestImageReadme(t *testing.T) {
	text := string(contents(t, "README.md"))
	for _, want := range []string{
		strings.Join(runOptions, " ") + " --health-cmd='" + healthCommand + "'",
		"skopeo inspect --format '{{.Digest}}' docker://" + baseOf(t, "GO_IMAGE") + "\n",
		"skopeo inspect --format '{{.Digest}}' docker://" + baseOf(t, "BASE_IMAGE") + "\n",
		"server/deploy/image --release NAME", "server/deploy/image verification-status --format docker", "go run ./.ci/sbom PROGRAM",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("README.md does not have %q", want)
		}
	}
}
