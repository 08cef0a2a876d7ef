package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"example.com/verification-status/server/internal/testing/document"
)

// longest is the greatest length of a line, in characters: a longer one cannot be read in a diff.
const longest = 400

// projectFiles returns the project's files with this ending, by their path from the top, without what is fetched or generated.
func projectFiles(t *testing.T, ending string) map[string]string {
	t.Helper()
	root, found := document.Root(t), map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules" || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ending):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		found[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestNoLineIsTooLong(t *testing.T) {
	for path, text := range projectFiles(t, ".md") {
		number := 0
		for line := range strings.Lines(text) {
			number++
			if n := utf8.RuneCountInString(line); n > longest {
				t.Errorf("%s:%d has %d characters, at most %d are allowed", path, number, n, longest)
			}
		}
	}
}

// The front pages stay pages.
func TestFrontPagesAreShort(t *testing.T) {
	for path, most := range map[string]int{"README.md": 160, "server/README.md": 260} {
		if n := strings.Count(document.Text(t, path), "\n"); n > most {
			t.Errorf("%s has %d lines, at most %d are allowed", path, n, most)
		}
	}
}

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	mdFenced  = regexp.MustCompile("(?ms)^```.*?^```")
	noAnchor  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors returns what the headings of a document are linked by.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, h := range mdHeading.FindAllStringSubmatch(mdFenced.ReplaceAllString(text, ""), -1) {
		found[strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return found
}

// Each link between documents leads to a file, and to a heading if it names one.
func TestLinksLeadSomewhere(t *testing.T) {
	root := document.Root(t)
	for from, text := range projectFiles(t, ".md") {
		for _, l := range mdLink.FindAllStringSubmatch(mdFenced.ReplaceAllString(text, ""), -1) {
			file, fragment, _ := strings.Cut(l[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			target := text
			if file != "" {
				path := filepath.Join(root, filepath.FromSlash(from), "..", filepath.FromSlash(file))
				switch info, err := os.Stat(path); {
				case err != nil:
					t.Errorf("%s: %s leads nowhere", from, l[1])
					continue
				case info.IsDir() || fragment == "":
					continue
				}
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				target = string(content)
			}
			if !anchors(target)[fragment] {
				t.Errorf("%s: %s names no heading", from, l[1])
			}
		}
	}
}

var (
	namedRun   = regexp.MustCompile(`go test [^` + "`" + `\n]*-(?:run|bench) '?\^?((?:Test|Benchmark)\w+)[^` + "`" + `\n]*`)
	packageArg = regexp.MustCompile(` \./((?:server|client)[\w/]*)`)
	quotedPath = regexp.MustCompile("`((?:server|client|api|gen|\\.ci)/[\\w./-]+)`")
)

// Each test that a document runs by its name exists, in the package that the command names.
func TestCommandsNameTests(t *testing.T) {
	code := map[string]string{}
	for path, text := range projectFiles(t, "_test.go") {
		dir := path[:strings.LastIndex(path, "/")]
		code[dir] += text
		code[""] += text
	}
	for path, text := range projectFiles(t, ".md") {
		for _, command := range namedRun.FindAllStringSubmatch(text, -1) {
			dir := ""
			if named := packageArg.FindStringSubmatch(command[0]); named != nil {
				dir = named[1]
			}
			if !strings.Contains(code[dir], "func "+command[1]) {
				t.Errorf("%s: no test in %s begins with %s: %s", path, dir, command[1], command[0])
			}
		}
	}
}

// Each path of the project that a document quotes exists.
func TestQuotedPathsExist(t *testing.T) {
	root := document.Root(t)
	for path, text := range projectFiles(t, ".md") {
		for _, quoted := range quotedPath.FindAllStringSubmatch(mdFenced.ReplaceAllString(text, ""), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(quoted[1]))); err != nil {
				t.Errorf("%s: %s does not exist", path, quoted[1])
			}
		}
	}
}

// The architecture names each package of the server.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	_, packages, _ := strings.Cut(document.Text(t, "server/README.md"), "\n## Packages\n")
	packages, _, _ = strings.Cut(packages, "\n## ")
	for path := range projectFiles(t, ".go") {
		name, inside := strings.CutPrefix(path, "server/internal/")
		name, _, _ = strings.Cut(name, "/")
		if inside && !strings.Contains(packages, "`"+name+"`") && !strings.Contains(packages, "`"+name+"/") {
			t.Errorf("server/README.md does not name the package %s", name)
		}
	}
}
