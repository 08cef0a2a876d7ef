package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/testing/document"
)

// kubectlOfAJob gives the Deployment, and keeps the object that it is to create.
const kubectlOfAJob = `#!/bin/sh
set -eu
case "$1 $2" in
"get deploy/verification-status") cat "$WORK/deployment.json" ;;
"create -f") cat >"$WORK/job.json" ;;
*) echo "$*" >>"$WORK/asked" ;;
esac
`

// The command of the page on recovery makes a Job out of the Deployment, which runs a catch-up with its image, settings and secrets. It fits the
// schemas of Kubernetes, and no Service sends it calls.
func TestACatchUpRunsAsAJob(t *testing.T) {
	need(t, "jq", "jq")
	bash := need(t, "bash", "bash")
	dir := t.TempDir()
	var deployment map[string]any
	selectors := []any{}
	for _, object := range documents(t, kustomize(t, "kubernetes")) {
		switch object["kind"] {
		case "Deployment":
			deployment = object
		case "Service":
			selectors = append(selectors, object["spec"].(map[string]any)["selector"])
		}
	}
	text, err := json.Marshal(deployment)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"deployment.json": string(text), "kubectl": kubectlOfAJob} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), bash, "-euo", "pipefail", "-c", document.Code(t, "server/docs/recovery.md", "job"))
	cmd.Env = []string{"WORK=" + dir, "PATH=" + dir + ":" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	made, err := os.ReadFile(filepath.Join(dir, "job.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kubernetes := range []string{oldestKubernetes, newestKubernetes} {
		for _, finding := range newSchemas(t, kubernetes).judge(string(made)) {
			t.Errorf("%s: %s", kubernetes, finding)
		}
	}

	template := func(object map[string]any) (pod, container map[string]any) {
		pod = object["spec"].(map[string]any)["template"].(map[string]any)
		return pod, pod["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	}
	job := documents(t, string(made))[0]
	pod, container := template(job)
	served, server := template(deployment)
	labels := pod["metadata"].(map[string]any)["labels"]
	for _, selector := range selectors {
		if cmp.Equal(selector, labels) {
			t.Errorf("a Service sends calls to pods with the labels %v", labels)
		}
	}
	if len(selectors) == 0 {
		t.Error("there is no Service: this test proves nothing")
	}
	server["args"] = []any{"reconcile"}
	for _, field := range []string{"ports", "startupProbe", "livenessProbe", "readinessProbe", "lifecycle"} {
		if server[field] == nil {
			t.Errorf("the Deployment has no %s: this test proves nothing", field)
		}
		delete(server, field)
	}
	if diff := cmp.Diff(server, container); diff != "" {
		t.Errorf("the container of the Job (-Deployment +Job):\n%s", diff)
	}
	served["spec"].(map[string]any)["restartPolicy"] = "Never"
	if diff := cmp.Diff(served["spec"], pod["spec"]); diff != "" {
		t.Errorf("the pod of the Job (-Deployment +Job):\n%s", diff)
	}
}
