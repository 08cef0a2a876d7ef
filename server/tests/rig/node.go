package rig

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// nodeParts are the directories of the repository that its Node programs consist of.
var nodeParts = []string{"client/node", "client/example/node-bff", "client/example/bff/static"}

// CloneNode copies the Node programs of the repository into a directory, laid out as in a fresh clone: nothing is installed or
// built. So no test changes the checkout.
func CloneNode(t testing.TB, to string) {
	t.Helper()
	NeedProgram(t, "node")
	NeedProgram(t, "npm")
	for _, part := range nodeParts {
		if err := CopyTree(filepath.Join(to, filepath.FromSlash(part)), Path(filepath.FromSlash(part))); err != nil {
			t.Fatal(err)
		}
	}
}

// nodeClient is the npm package, built once for all tests of a room.
var nodeClient struct {
	sync.Mutex
	root string // removed by Main
	dir  string
}

// BuildNodeClient returns the directory of the npm package, in which Node finds the package by its name. The first caller builds it.
func BuildNodeClient(t testing.TB) (dir string) {
	t.Helper()
	nodeClient.Lock()
	defer nodeClient.Unlock()
	if nodeClient.dir != "" {
		return nodeClient.dir
	}
	if nodeClient.root == "" {
		root, err := os.MkdirTemp("", "node-client-")
		if err != nil {
			t.Fatal(err)
		}
		nodeClient.root = root
	}
	CloneNode(t, nodeClient.root)
	dir = filepath.Join(nodeClient.root, "client", "node")
	NPM(t, dir, "ci")
	NPM(t, dir, "run", "build")
	nodeClient.dir = dir
	return dir
}

// CopyTree copies the files below a directory, without what npm and the builds make: a checkout can have that.
func CopyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, path[len(from):])
		switch {
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "dist"):
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(target, 0o700)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o600)
	})
}

// NPM runs npm in a directory, with files from its cache where it has them, and returns the output. If an installation fails, it
// skips the test, as SkipOrFail does.
func NPM(t testing.TB, dir string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "npm", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "npm_config_audit=false", "npm_config_fund=false", "npm_config_prefer_offline=true",
		"npm_config_ignore_scripts="+fmt.Sprint(args[0] != "run"), "npm_config_update_notifier=false")
	out, err := command.CombinedOutput()
	switch {
	case err == nil:
	case args[0] == "ci" || args[0] == "install":
		SkipOrFail(t, fmt.Sprintf("npm cannot install: %v\n%s\nconnect this machine to a registry of npm", err, out))
	default:
		t.Fatalf("npm %v: %v\n%s", args, err, out)
	}
	return string(out)
}
