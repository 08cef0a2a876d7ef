package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKubernetesRunsKubectlAlone: .ci/kubernetes runs the kubectl commands of the runbook as its own user. It takes no other command of a page, so
// neither a variable that only other commands use: to set it can make folders, or fail where those commands do not belong.
func TestKubernetesRunsKubectlAlone(t *testing.T) {
	need(t, "perl", "perl")
	page := filepath.Join(t.TempDir(), "page.md")
	text := "Run `kubectl get\n  pods` or look at `kubectl logs -l`.\n\n```\nset -eu\n" +
		"kubectl scale deploy/x --replicas=0\nbackup=\"$(find \"$BACKUPS\")\"\nbefore=\"$(mktemp -d /nowhere/XXXXXX)\"\ncp \"$backup\" \"$before\"\n" +
		"OTHER=1\nkubectl wait \\\n  pod\n```\n\n" +
		"  ```\n  $ N=3\n  $ OLD=$(kubectl get secret)\n  output\n  $ test -n \"$OLD\" && read NEW && echo \"$NEW\" | kubectl scale --replicas=${N}\n  ```\n\n```\nrm -r x\n```\n"
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(need(t, "bash", "bash"), "-c", "source ../../.ci/kubernetes-steps/pages && page_commands "+page).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := "kubectl get pods\n\n" +
		"kubectl scale deploy/x --replicas=0\nkubectl wait  pod\n\n" +
		"N=3\nOLD=$(kubectl get secret)\ntest -n \"$OLD\" && read NEW && echo \"$NEW\" | kubectl scale --replicas=${N}\n\n"
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("the commands that are run (-want +got):\n%s", diff)
	}
}
