package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/document"
)

// Go modules that ship the schemas. Tests read them in the module cache, so go.mod does not have them.
const (
	oldestKubernetes = "k8s.io/kubernetes@v1.30.14" // the README's "1.30 or newer"
	newestKubernetes = "k8s.io/kubernetes@v1.37.2"
	operatorModule   = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
)

// rendered has the directories that kubectl apply -k is given.
var rendered = []string{"kubernetes", "staging", "operator"}

// inModule returns the path of a file of a Go module in the module cache.
func inModule(t *testing.T, module string, path ...string) string {
	t.Helper()
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(cache)), module)
	if _, err := os.Stat(dir); err != nil {
		why := module + " is not in the module cache: go mod download " + module + ", then go test -count=1"
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return filepath.Join(append([]string{dir}, path...)...)
}

// schemas has the schemas of one version of Kubernetes, and of the operator's custom resources.
type schemas struct {
	t          *testing.T
	kubernetes string // the module
	named      map[string]*schema
	read       map[string]bool
}

// newSchemas skips the test if a module is not there.
func newSchemas(t *testing.T, kubernetes string) *schemas {
	t.Helper()
	inModule(t, kubernetes)
	inModule(t, operatorModule)
	return &schemas{t: t, kubernetes: kubernetes, named: map[string]*schema{}, read: map[string]bool{}}
}

// load reads the schemas of a group and version, such as apps/v1, and tells whether Kubernetes has it.
func (s *schemas) load(apiVersion string) bool {
	s.t.Helper()
	if s.read[apiVersion] {
		return true
	}
	name := "apis__" + strings.ReplaceAll(apiVersion, "/", "__")
	if !strings.Contains(apiVersion, "/") {
		name = "api__" + apiVersion
	}
	text, err := os.ReadFile(inModule(s.t, s.kubernetes, "api", "openapi-spec", "v3", name+"_openapi.json"))
	if err != nil {
		return false
	}
	var file struct {
		Components struct{ Schemas json.RawMessage }
	}
	if err := json.Unmarshal(text, &file); err != nil {
		s.t.Fatal(err)
	}
	readSchema(s.t, name, file.Components.Schemas, &s.named) // each file has all that it refers to
	s.read[apiVersion] = true
	return true
}

// of returns the schema of a kind, or nil.
func (s *schemas) of(apiVersion, kind string) *schema {
	s.t.Helper()
	group, version, _ := strings.Cut(apiVersion, "/")
	if version == "" {
		group, version = "", apiVersion
	}
	if !s.load(apiVersion) {
		return s.custom(group, version, kind)
	}
	for _, one := range s.named {
		if slices.Contains(one.GroupVersionKind, groupVersionKind{group, version, kind}) {
			return one
		}
	}
	return nil
}

// custom returns the schema in the operator's definition of a kind, or nil.
func (s *schemas) custom(group, version, kind string) *schema {
	s.t.Helper()
	name := group + "_" + strings.ToLower(kind) + "s.yaml"
	text, err := os.ReadFile(inModule(s.t, operatorModule, "example", "prometheus-operator-crd", name))
	if err != nil {
		return nil
	}
	for _, one := range documents(s.t, string(text))[0]["spec"].(map[string]any)["versions"].([]any) {
		of := one.(map[string]any)
		if of["name"] != version {
			continue
		}
		open, err := json.Marshal(of["schema"].(map[string]any)["openAPIV3Schema"])
		if err != nil {
			s.t.Fatal(err)
		}
		var definition schema
		readSchema(s.t, name, open, &definition)
		// The server itself knows the metadata of each object.
		s.load("v1")
		definition.Properties["metadata"] = s.named["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]
		return &definition
	}
	return nil
}

// judge returns what is wrong with the objects in text.
func (s *schemas) judge(text string) (findings []string) {
	s.t.Helper()
	for _, object := range documents(s.t, text) {
		apiVersion, _ := object["apiVersion"].(string)
		kind, _ := object["kind"].(string)
		of := s.of(apiVersion, kind)
		if of == nil {
			findings = append(findings, kind+": "+apiVersion+" has no such kind")
			continue
		}
		j := judge{named: s.named}
		j.check(kind, of, object)
		findings = append(findings, j.findings...)
	}
	return findings
}

// CI downloads the modules of these tests, and .ci/kubernetes gives its API server the same custom resources.
func TestSchemasAreThoseOfCI(t *testing.T) {
	_, oldest, _ := strings.Cut(oldestKubernetes, "@")
	_, newest, _ := strings.Cut(newestKubernetes, "@")
	_, operator, _ := strings.Cut(operatorModule, "@")
	for file, line := range map[string]string{
		".ci/run":                    "\nkubernetes_versions=\"" + oldest + " " + newest + "\"\noperator_version=" + operator + "\n",
		".ci/kubernetes-steps/apply": operatorModule,
	} {
		if !strings.Contains(document.Text(t, file), line) {
			t.Errorf("%s has no %q", file, line)
		}
	}
}

// What kubectl apply -k sends fits the schemas of the oldest version of Kubernetes that the README names, of the newest one, and of the operator.
func TestManifestsFitTheSchemas(t *testing.T) {
	if line := "1.30 or newer"; !strings.Contains(document.Text(t, "server/deploy/README.md"), line) || !strings.Contains(oldestKubernetes, "@v1.30.") {
		t.Errorf("the README does not say %q, or the schemas are those of %s", line, oldestKubernetes)
	}
	for _, kubernetes := range []string{oldestKubernetes, newestKubernetes} {
		known := newSchemas(t, kubernetes)
		for _, dir := range rendered {
			text := kustomize(t, dir)
			if objects := len(documents(t, text)); objects < 2 {
				t.Errorf("%s has %d objects", dir, objects)
			}
			for _, finding := range known.judge(text) {
				t.Errorf("%s, %s: %s", kubernetes, dir, finding)
			}
		}
	}
}

// Each kind of mistake, made in what kubectl apply -k sends, is found.
func TestMistakesDoNotFitTheSchemas(t *testing.T) {
	known := newSchemas(t, newestKubernetes)
	texts := map[string]string{}
	for _, dir := range rendered {
		texts[dir] = kustomize(t, dir)
	}
	for name, mistake := range map[string]struct{ dir, right, wrong, want string }{
		"unknown field":           {"kubernetes", "maxSurge: 1", "maxSurg: 1", `Deployment.spec.strategy.rollingUpdate: unknown field "maxSurg"`},
		"field of another object": {"staging", "replicas: 2", "replicas: 2\n  clusterIP: None", `Deployment.spec: unknown field "clusterIP"`},
		"text for a number":       {"kubernetes", "replicas: 3", `replicas: "3"`, `Deployment.spec.replicas: 3 is a string, want "integer"`},
		"number for a text":       {"kubernetes", `value: "20000"`, "value: 20000", `Deployment.spec.template.spec.containers[0].env[4].value: 20000 is a int, want "string"`},
		"number that is too big":  {"kubernetes", "containerPort: 4242", "containerPort: 4242424242", `Deployment.spec.template.spec.containers[0].ports[1].containerPort: 4242424242 is out of range`},
		"list for an object":      {"kubernetes", "podSelector:\n    matchLabels:", "podSelector:\n  - matchLabels:", `NetworkPolicy.spec.podSelector: [map[matchLabels:map[app.kubernetes.io/name:verification-status]]] is a []interface {}, want "object"`},
		"missing field":           {"kubernetes", "- name: secrets\n        projected:", "- projected:", `Deployment.spec.template.spec.volumes[0]: the required field "name" is missing`},
		"a name twice":            {"kubernetes", "- name: WEBHOOK_ADDR", "- name: GRPC_ADDR", `Deployment.spec.template.spec.containers[0].env[5]: a second entry with name=GRPC_ADDR`},
		"unknown kind":            {"kubernetes", "kind: PodDisruptionBudget", "kind: DisruptionBudget", `DisruptionBudget: policy/v1 has no such kind`},
		"old version":             {"kubernetes", "apiVersion: policy/v1", "apiVersion: policy/v1beta1", `PodDisruptionBudget: policy/v1beta1 has no such kind`},
		"boolean for a quantity":  {"kubernetes", "memory: 1Gi", "memory: true", `Deployment.spec.template.spec.containers[0].resources.limits.memory: true fits none of 2 types`},
		"custom: unknown field":   {"operator", "jobLabel:", "joblabel:", `PodMonitor.spec: unknown field "joblabel"`},
		"custom: pattern":         {"operator", "interval: 15s", "interval: 15 seconds", `PodMonitor.spec.podMetricsEndpoints[0].interval: "15 seconds" does not match`},
		"custom: type":            {"operator", "any: true", `any: "true"`, `PodMonitor.spec.namespaceSelector.any: true is a string, want "boolean"`},
		"custom: enum":            {"operator", "- sourceLabels:", "- action: Rename\n      sourceLabels:", `PodMonitor.spec.podMetricsEndpoints[0].relabelings[0].action: Rename is none of`},
		"custom: missing field":   {"operator", "- name: verification-status\n", "- interval: 1m\n", `PrometheusRule.spec.groups[0]: the required field "name" is missing`},
		"custom: group twice":     {"operator", "name: sloth-slo-alerts-verification-status-webhooks-kept", "name: verification-status", `a second entry with name=verification-status`},
		"custom: metadata":        {"operator", "metadata:\n  labels:", "metadata:\n  label:", `PodMonitor.metadata: unknown field "label"`},
	} {
		t.Run(name, func(t *testing.T) {
			text := texts[mistake.dir]
			if !strings.Contains(text, mistake.right) {
				t.Fatalf("%s has no %q", mistake.dir, mistake.right)
			}
			findings := known.judge(strings.Replace(text, mistake.right, mistake.wrong, 1))
			if !slices.ContainsFunc(findings, func(f string) bool { return strings.Contains(f, mistake.want) }) {
				t.Errorf("found %q, want %q", findings, mistake.want)
			}
		})
	}
}

// A field that only a newer Kubernetes has is a mistake, since the README promises an older one.
func TestNewerFieldsDoNotFitTheOldestSchemas(t *testing.T) {
	text := strings.Replace(kustomize(t, "kubernetes"), "terminationGracePeriodSeconds:", "resources:\n        limits:\n          memory: 2Gi\n      terminationGracePeriodSeconds:", 1)
	for kubernetes, want := range map[string][]string{
		oldestKubernetes: {`Deployment.spec.template.spec: unknown field "resources"`},
		newestKubernetes: nil,
	} {
		if got := newSchemas(t, kubernetes).judge(text); !slices.Equal(got, want) {
			t.Errorf("%s: found %q, want %q", kubernetes, got, want)
		}
	}
}
