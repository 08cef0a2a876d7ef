package npm

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/tests/rig"
)

// pack builds and packs the package in a fresh clone, with Node and npm only, and returns the tarball.
func pack(t *testing.T) (tarball string) {
	t.Helper()
	root := t.TempDir()
	rig.CloneNode(t, root)
	dir := filepath.Join(root, "client", "node")
	rig.NPM(t, dir, "ci")
	rig.NPM(t, dir, "run", "build")
	rig.NPM(t, dir, "pack", "--pack-destination", root, "--ignore-scripts=false")
	found, err := filepath.Glob(filepath.Join(root, "*.tgz"))
	if err != nil || len(found) != 1 {
		t.Fatalf("npm pack made %v, %v", found, err)
	}
	return found[0]
}

// TestPackage looks at the tarball, and uses it as a project of another team does.
func TestPackage(t *testing.T) {
	t.Parallel() // it mostly waits
	tarball := pack(t)
	t.Run("contents", func(t *testing.T) { checkContents(t, tarball) })
	t.Run("lint", func(t *testing.T) { lint(t, tarball) })
	t.Run("scripts", checkScripts)
	t.Run("project", func(t *testing.T) { useInProject(t, tarball) })
}

// checkContents: the tarball has the sources without tests and their helpers, what the compiler makes of them, and two more files. Each source
// map names files of the tarball.
func checkContents(t *testing.T, tarball string) {
	want := []string{"README.md", "package.json"}
	from := rig.Path("client", "node", "src")
	err := filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
		name := filepath.ToSlash(strings.TrimPrefix(file, from+string(filepath.Separator)))
		if err != nil || entry.IsDir() || strings.HasSuffix(name, ".test.ts") || strings.HasSuffix(name, ".rig.ts") {
			return err
		}
		base := strings.TrimSuffix(name, ".ts")
		want = append(want, "src/"+name, "dist/"+base+".js", "dist/"+base+".js.map", "dist/"+base+".d.ts", "dist/"+base+".d.ts.map")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, tarball)
	got := make([]string, 0, len(files))
	for name := range files {
		got = append(got, name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the tarball has other files (-want +got):\n%s", diff)
	}
	for name, text := range files {
		if !strings.HasSuffix(name, ".map") {
			continue
		}
		var sourceMap struct{ Sources []string }
		if err := json.Unmarshal(text, &sourceMap); err != nil || len(sourceMap.Sources) == 0 {
			t.Errorf("%s: %v %s", name, err, text)
		}
		for _, source := range sourceMap.Sources {
			if _, found := files[path.Join(path.Dir(name), source)]; !found {
				t.Errorf("%s points to %s, which is not in the tarball", name, source)
			}
		}
	}
	var manifest struct{ Dependencies map[string]string }
	if err := json.Unmarshal(files["package.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(manifest.Dependencies))
	for name := range manifest.Dependencies {
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"@bufbuild/protobuf", "@grpc/grpc-js"}, names); diff != "" {
		t.Errorf("other dependencies (-want +got):\n%s", diff)
	}
}

// unpack returns the files of a tarball of npm, whose one directory is "package".
func unpack(t *testing.T, tarball string) map[string][]byte {
	t.Helper()
	file, err := os.Open(tarball)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(zipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[strings.TrimPrefix(header.Name, "package/")], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// lint has two programs look at the tarball: publint at package.json, and arethetypeswrong at the types. The package is ESM only.
func lint(t *testing.T, tarball string) {
	dir := t.TempDir()
	if err := rig.CopyTree(dir, filepath.Join("testdata", "lint")); err != nil {
		t.Fatal(err)
	}
	rig.NPM(t, dir, "ci")
	for _, command := range [][]string{
		{"node_modules/.bin/publint", tarball, "--strict"},
		{"node_modules/.bin/attw", tarball, "--profile", "esm-only"},
	} {
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "Suggestions") || strings.Contains(string(out), "Warnings") {
			t.Errorf("%v: %v\n%s", command, err, out)
		}
	}
}
