package npm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/verification-status/server/tests/rig"
)

const packageName = "@verification-status/client"

// newProject makes a project of another team, installs the tarball into it, and compiles the examples as its code. It changes the
// addresses in them: replaced has pairs of an old text and a new one. The project is not below the package, so it finds no module of
// the package but by its own node_modules.
func newProject(t *testing.T, tarball string, replaced ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	from := rig.Path("client", "node", "examples")
	if err := rig.CopyTree(filepath.Join(dir, "src"), filepath.Join(from, "src")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package.json", "package-lock.json", "tsconfig.json"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			if strings.HasPrefix(name, "package") {
				text = withoutClient(t, text)
			}
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	sources, err := filepath.Glob(filepath.Join(dir, "src", "*.ts"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("the examples are %v, %v", sources, err)
	}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err == nil {
			err = os.WriteFile(source, []byte(strings.NewReplacer(replaced...).Replace(string(text))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	rig.NPM(t, dir, "ci")
	rig.NPM(t, dir, "install", tarball)
	rig.NPM(t, dir, "run", "build")
	return dir
}

// withoutClient removes the package from a package.json or package-lock.json: the project installs the tarball in its place.
func withoutClient(t *testing.T, text []byte) []byte {
	t.Helper()
	var file map[string]any
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	roots := []any{file}
	if packages, ok := file["packages"].(map[string]any); ok {
		delete(packages, "..")
		delete(packages, "node_modules/"+packageName)
		roots = append(roots, packages[""])
	}
	for _, root := range roots {
		if dependencies, ok := root.(map[string]any)["dependencies"].(map[string]any); ok {
			delete(dependencies, packageName)
		}
	}
	changed, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}
