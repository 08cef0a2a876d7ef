// Command notices prints the licences and notices of all that is linked into the server as it is shipped: the texts that must go
// along with the program. With the argument dev it prints those of the modules that only a program with the development server has.
// Texts that are the same, byte for byte, are printed once. It needs Go and the modules of go.mod.
//
//	go run ./.ci/notices >server/THIRD_PARTY_NOTICES
//	go run ./.ci/notices dev >server/THIRD_PARTY_NOTICES_DEV
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// legal are the names of the files that licences want to go along.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|notice|copying|copyright|patents)([.-].*)?$`)

// source is a Go file with such a name, such as license.go.
var source = regexp.MustCompile(`\.go$`)

type dependency struct {
	Dir      string
	Standard bool
	Module   *struct {
		Path, Version, Dir string
		Main               bool
	}
}

const (
	shippedHeading = "The program contains what follows, unchanged. The source of each module is at its path and version.\n\n"
	devHeading     = "A program with the development server also contains what follows, unchanged.\n\n"
)

func main() {
	run := printShipped
	if len(os.Args) == 2 && os.Args[1] == "dev" {
		run = printDev
	}
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func printShipped(out io.Writer) error {
	dependencies, err := list("-tags=nodev")
	if err != nil {
		return err
	}
	return printTexts(out, shippedHeading, dependencies)
}

// printDev prints what a program without the tag contains beyond the shipped one.
func printDev(out io.Writer) error {
	shipped, err := list("-tags=nodev")
	if err != nil {
		return err
	}
	all, err := list()
	if err != nil {
		return err
	}
	return printTexts(out, devHeading, slices.DeleteFunc(all, func(d dependency) bool {
		return d.Standard || slices.ContainsFunc(shipped, func(s dependency) bool { return !s.Standard && s.Module.Path == d.Module.Path })
	}))
}

func printTexts(out io.Writer, heading string, dependencies []dependency) error {
	owners := map[string][]string{} // of each text
	modules := map[string]bool{}    // whether one has a text
	for _, d := range dependencies {
		name, root := "the Go standard library", ""
		switch {
		case d.Standard:
			var err error
			if root, err = goroot(); err != nil {
				return err
			}
		case d.Module.Main:
			continue
		default:
			name, root = d.Module.Path+" "+d.Module.Version, d.Module.Dir
		}
		texts, err := textsOf(d.Dir, root)
		if err != nil {
			return err
		}
		modules[name] = modules[name] || len(texts) > 0
		for _, text := range texts {
			if !slices.Contains(owners[text], name) {
				owners[text] = append(owners[text], name)
			}
		}
	}
	for name, found := range modules {
		if !found {
			return fmt.Errorf("%s has no file with its licence", name)
		}
	}
	return write(out, heading, slices.Sorted(maps.Keys(modules)), owners)
}

// list returns the packages of the server for the platform on which it is shipped. flags are more flags of go list.
func list(flags ...string) ([]dependency, error) {
	args := slices.Concat([]string{"list", "-deps", "-json=Dir,Standard,Module"}, flags, []string{"./server"})
	command := exec.Command("go", args...)
	command.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=")
	command.Stderr = os.Stderr
	text, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("the server's packages cannot be listed: %w", err)
	}
	var all []dependency
	for decoder := json.NewDecoder(bytes.NewReader(text)); ; {
		var one dependency
		switch err := decoder.Decode(&one); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		all = append(all, one)
	}
}

func goroot() (string, error) {
	text, err := exec.Command("go", "env", "GOROOT").Output()
	return strings.TrimSpace(string(text)), err
}

// textsOf returns the texts that hold for a package: those in its directory and in each one above, up to the root.
func textsOf(dir, root string) (texts []string, err error) {
	for ; strings.HasPrefix(dir, root); dir = filepath.Dir(dir) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if entry.IsDir() || !legal.MatchString(entry.Name()) || source.MatchString(entry.Name()) {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
			if err != nil {
				return nil, err
			}
			texts = append(texts, strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")))
		}
		if dir == root {
			break
		}
	}
	return texts, nil
}

func write(out io.Writer, heading string, names []string, owners map[string][]string) error {
	var b strings.Builder
	b.WriteString(heading)
	for _, name := range names {
		b.WriteString("  " + name + "\n")
	}
	texts := slices.SortedFunc(maps.Keys(owners), func(x, y string) int {
		return strings.Compare(owners[x][0]+x, owners[y][0]+y)
	})
	for _, text := range texts {
		slices.Sort(owners[text])
		fmt.Fprintf(&b, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(owners[text], "\n"), text)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
