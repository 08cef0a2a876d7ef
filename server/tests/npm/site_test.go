package npm

import (
	"path/filepath"
	"testing"

	"example.com/verification-status/server/tests/rig"
)

// TestExampleSite builds the example site of Node in a fresh clone, by the commands of its README, and runs its own tests. Package
// browser drives its page.
func TestExampleSite(t *testing.T) {
	t.Parallel() // it mostly waits
	root := t.TempDir()
	rig.CloneNode(t, root)
	dir := filepath.Join(root, "client", "example", "node-bff")
	rig.NPM(t, dir, "ci")
	rig.NPM(t, dir, "run", "build")
	t.Log(rig.NPM(t, dir, "run", "test"))
}
