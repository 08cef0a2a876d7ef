package deploy

import (
	"bytes"
	"debug/buildinfo"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var imageAgain = flag.String("image.again", "", "build the release again and compare the digests: with the modules and the build cache of this machine (cached), or without them (cold)")

// TestImage builds the image in two folders, with different masks of modes, as a release in OCI format, and in docker format on bases that
// are named by tag, and runs both. The files are the same to the byte. With -image.again it compares the digests of two releases, too.
func TestImage(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and runs the image; without -short: go test -count=1 ./server/deploy")
	}
	rig := newImageRig(t)
	first, second := filepath.Join(t.TempDir(), "here"), filepath.Join(t.TempDir(), "some", "where", "else")
	commit := copySource(t, first)
	if other := copySource(t, second); other != commit {
		t.Fatalf("the copies differ: %s, %s", commit, other)
	}
	caches := []string{"--volume=" + goEnv(t, "GOMODCACHE") + ":/go/pkg/mod", "--volume=" + goEnv(t, "GOCACHE") + ":/root/.cache/go-build"}
	rig.release(first, "022", "oci", append([]string{"--format=oci"}, caches...)...)
	rig.build(second, "077", nil, append([]string{"docker", "--format=docker"}, caches...))

	t.Run("HasTheSameFiles", func(t *testing.T) {
		one, two := rig.config("oci").RootFS.DiffIDs, rig.config("docker").RootFS.DiffIDs
		if len(one) != 2 || !slices.Equal(one, two) {
			t.Errorf("the same commit gave the layers %q and %q; want two, the same", one, two)
		}
	})
	if *imageAgain != "" {
		t.Run("HasTheSameDigest", func(t *testing.T) {
			if *imageAgain == "cold" {
				caches = nil
			}
			rig.release(second, "077", "oci-again", append([]string{"--format=oci"}, caches...)...)
			one, two := rig.digest("oci"), rig.digest("oci-again")
			if one != two {
				t.Errorf("the same commit gave the images %s and %s", one, two)
			}
			t.Logf("both have the digest %s", one)
		})
		t.Run("HoldsTheProgramOfTheScript", func(t *testing.T) {
			outside := filepath.Join(t.TempDir(), "server")
			build(t, first, outside)
			if inside := filepath.Join(rig.mounted("oci"), "server"); !bytes.Equal(contents(t, inside), contents(t, outside)) {
				t.Error("the program in the image differs from the one that server/deploy/build makes outside")
			}
		})
	}
	t.Run("SaysWhatItIs", func(t *testing.T) { checkConfigs(t, rig, commit) })
	t.Run("HoldsTheProgramAlone", func(t *testing.T) { checkFiles(t, rig, first) })
	t.Run("RunsInDockerFormat", func(t *testing.T) { runImage(t, rig, "docker") })
	t.Run("RunsInOCIFormat", func(t *testing.T) { runImage(t, rig, "oci", "--health-cmd="+healthCommand) })
}

// checkConfigs compares the configurations with the Dockerfile and the commit. Only the docker format has a health check.
func checkConfigs(t *testing.T, rig *imageRig, commit string) {
	committed := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	labels := map[string]string{
		"title": "verification-status", "version": "v1.2.3", "revision": commit, "created": committed.Format(time.RFC3339),
	}
	bases := map[string]string{"docker": baseOf(t, "BASE_IMAGE"), "oci": rig.pinned("BASE_IMAGE")}
	for name, mediaType := range map[string]string{
		"docker": "application/vnd.docker.container.image.v1+json", "oci": "application/vnd.oci.image.config.v1+json",
	} {
		config := rig.config(name)
		if config.mediaType != mediaType {
			t.Errorf("%s has the format %s; want %s", name, config.mediaType, mediaType)
		}
		if !config.Created.Equal(committed) {
			t.Errorf("%s was created at %v; want the time of the commit, %v", name, config.Created, committed)
		}
		for label, want := range labels {
			if got := config.Config.Labels["org.opencontainers.image."+label]; got != want {
				t.Errorf("%s has the %s %q; want %q", name, label, got, want)
			}
		}
		if got := config.Config.Labels["org.opencontainers.image.base.name"]; got != bases[name] {
			t.Errorf("%s has the base %q; want %q", name, got, bases[name])
		}
		if config.Config.User != "65532:65532" {
			t.Errorf("%s runs as %q; want 65532:65532", name, config.Config.User)
		}
		if command := slices.Concat(config.Config.Entrypoint, config.Config.Cmd); !slices.Equal(command, []string{"/server", "serve"}) {
			t.Errorf("%s runs %q; want /server serve", name, command)
		}
		switch health := config.Config.Healthcheck; {
		case name == "oci" && health != nil:
			t.Errorf("an image in OCI format has a health check, so the README is wrong: %+v", health)
		case name == "docker" && (health == nil || !slices.Equal(health.Test, []string{"CMD", "/server", "healthcheck"})):
			t.Errorf("the image in docker format has the health check %+v; want /server healthcheck", health)
		}
	}
}

// checkFiles checks what the image adds to its base: three files, whose bytes are those of the commit.
func checkFiles(t *testing.T, rig *imageRig, tree string) {
	root := rig.mounted("oci")
	var added []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if _, err := os.Lstat(filepath.Join(rig.base, name)); err != nil {
			info, err := entry.Info()
			if err != nil {
				return err
			}
			added = append(added, info.Mode().String()+" "+name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(added)
	if want := []string{"-rw-r--r-- THIRD_PARTY_NOTICES", "-rw-r--r-- sbom.cdx.json", "-rwxr-xr-x server"}; !slices.Equal(added, want) {
		t.Errorf("the image adds %q; want %q", added, want)
	}
	program := filepath.Join(root, "server")
	if !bytes.Equal(contents(t, filepath.Join(root, "THIRD_PARTY_NOTICES")), contents(t, "../THIRD_PARTY_NOTICES")) {
		t.Error("the notices in the image differ from those of the repository")
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	checkBill(t, contents(t, filepath.Join(root, "sbom.cdx.json")), program, info)
}

// mounted returns a folder with the files of an image.
func (r *imageRig) mounted(name string) string {
	r.t.Helper()
	lines := strings.Fields(r.run("buildah", "from", "--pull-never", name))
	return r.run("buildah", "mount", lines[len(lines)-1])
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
