package deploy

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// bill is the part of a CycloneDX document that is compared with go version -m.
type bill struct {
	BOMFormat, SpecVersion string
	SerialNumber           string
	Metadata               struct {
		Timestamp  string
		Tools      []struct{ Name, Version string }
		Component  struct{ Name, Version, Type string }
		Properties []struct{ Name, Value string }
	}
	Components []billComponent
}

type billComponent struct {
	Name, Version, Type, PURL string
	Hashes                    []struct{ Alg, Content string }
}

// printBill returns what .ci/sbom prints about a program. Without the tool in the module cache the test is skipped.
func printBill(t *testing.T, program string) []byte {
	t.Helper()
	tool := firstMatch(t, "../../.ci/sbom/main.go", `const tool = "(.*)"`)
	module, version, _ := strings.Cut(tool, "/cmd/")
	_, version, _ = strings.Cut(version, "@")
	// The module cache writes an upper-case letter as ! and the lower-case one.
	var escaped strings.Builder
	for _, letter := range module + "@" + version {
		if letter >= 'A' && letter <= 'Z' {
			escaped.WriteByte('!')
			letter += 'a' - 'A'
		}
		escaped.WriteRune(letter)
	}
	if _, err := os.Stat(filepath.Join(goEnv(t, "GOMODCACHE"), escaped.String())); err != nil {
		text := "the tool is not in the module cache: go run " + tool + " version, then go test -count=1"
		if os.Getenv("CI") != "" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	cmd := exec.Command("go", "run", "./.ci/sbom", program)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	return text
}

// checkBill checks that a bill of materials names the program, each of its modules with version and hash, and nothing else.
func checkBill(t *testing.T, text []byte, program string, info *buildinfo.BuildInfo) {
	t.Helper()
	var got bill
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.BOMFormat != "CycloneDX" || got.SpecVersion != "1.6" || len(got.Metadata.Tools) != 1 {
		t.Errorf("%s %s by %v; want CycloneDX 1.6 by one tool", got.BOMFormat, got.SpecVersion, got.Metadata.Tools)
	}
	if got.SerialNumber != "" || got.Metadata.Timestamp != "" {
		t.Errorf("serial number %q and time %q differ each time", got.SerialNumber, got.Metadata.Timestamp)
	}
	if main := got.Metadata.Component; main.Name != info.Main.Path || main.Version != info.Main.Version || main.Type != "application" {
		t.Errorf("it is about %+v; want %s %s", main, info.Main.Path, info.Main.Version)
	}
	sum := sha256.Sum256(contents(t, program))
	hash := hex.EncodeToString(sum[:])
	if !slices.ContainsFunc(got.Metadata.Properties, func(p struct{ Name, Value string }) bool {
		return p.Name == "cdx:gomod:binary:hash:SHA-256" && p.Value == hash
	}) {
		t.Errorf("it does not have the program's SHA-256 %s", hash)
	}
	want := []string{"std " + info.GoVersion + " "}
	for _, module := range info.Deps {
		sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(module.Sum, "h1:"))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, module.Path+" "+module.Version+" "+hex.EncodeToString(sum))
	}
	var named []string
	for _, c := range got.Components {
		line := c.Name + " " + c.Version + " "
		if len(c.Hashes) == 1 && c.Hashes[0].Alg == "SHA-256" {
			line += c.Hashes[0].Content
		}
		named = append(named, line)
		if prefix := "pkg:golang/" + c.Name + "@" + c.Version; !strings.HasPrefix(c.PURL, prefix) {
			t.Errorf("%s has the package URL %s; want %s", c.Name, c.PURL, prefix)
		}
	}
	slices.Sort(want)
	slices.Sort(named)
	if !slices.Equal(named, want) {
		t.Errorf("it names\n%s\nand go version -m names\n%s", strings.Join(named, "\n"), strings.Join(want, "\n"))
	}
}
