package deploy

import (
	"os/exec"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

type kustomization struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Namespace  string   `yaml:"namespace"`
	Resources  []string `yaml:"resources"`
	Images     []struct {
		Name    string `yaml:"name"`
		NewName string `yaml:"newName"`
		NewTag  string `yaml:"newTag"`
	} `yaml:"images"`
	Replicas []struct {
		Name  string `yaml:"name"`
		Count int    `yaml:"count"`
	} `yaml:"replicas"`
	Patches []struct {
		Patch string `yaml:"patch"`
	} `yaml:"patches"`
}

// kustomize returns what kubectl apply -k would send.
func kustomize(t *testing.T, dir string) string {
	t.Helper()
	program := needFrom(t, "kustomize", "go install sigs.k8s.io/kustomize/kustomize/v5@v5.8.2")
	text, err := exec.Command(program, "build", dir).Output()
	if err != nil {
		t.Fatalf("kustomize build %s: %v", dir, err)
	}
	return string(text)
}

// TestStagingDiffersInFewThings: staging is production but for its namespace, image, number of replicas, size, and these settings. Every setting is
// one of the server's, and staging refuses events of live mode.
func TestStagingDiffersInFewThings(t *testing.T) {
	production := manifestsOf(t, map[string]string{"kubernetes": kustomize(t, "kubernetes")})
	staging := manifestsOf(t, map[string]string{"staging": kustomize(t, "staging")})
	staging.checkSettings(t)
	if staging.setting(t, "LIVEMODE") != "false" {
		t.Error("staging accepts events of live mode")
	}
	staging.checkMemory(t)
	if n := staging.deployment.Spec.Replicas; n < 2 {
		t.Errorf("%d replicas: nothing happens between replicas", n)
	}
	for _, m := range []metadata{staging.deployment.Metadata, staging.policy.Metadata, staging.budget.Metadata, staging.account.Metadata,
		staging.services["verification-status"].Metadata, staging.services["verification-status-webhook"].Metadata} {
		if m.Namespace != "verification-staging" {
			t.Errorf("%s is in the namespace %q", m.Name, m.Namespace)
		}
	}
	meant := []string{"LIVEMODE", "LOG_LEVEL", "GRPC_MAX_STREAMS", "GOMEMLIMIT"}
	equal := cmp.Options{
		cmpopts.IgnoreFields(metadata{}, "Namespace"),
		cmpopts.IgnoreFields(container{}, "Image", "Resources"),
		cmp.Exporter(func(reflect.Type) bool { return true }),
		cmp.Transformer("others", func(variables []variableOfPod) map[string]string {
			left := map[string]string{}
			for _, v := range variables {
				if !slices.Contains(meant, v.Name) {
					left[v.Name] = v.Value
				}
			}
			return left
		}),
	}
	staging.deployment.Spec.Replicas = production.deployment.Spec.Replicas
	if diff := cmp.Diff(production, staging, equal); diff != "" {
		t.Errorf("staging differs (-production +staging):\n%s", diff)
	}
}

// podMonitor is the operator's object that finds the replicas.
type podMonitor struct {
	object `yaml:",inline"`
	Spec   struct {
		JobLabel          string `yaml:"jobLabel"`
		NamespaceSelector struct {
			Any bool `yaml:"any"`
		} `yaml:"namespaceSelector"`
		Selector  selector `yaml:"selector"`
		Endpoints []struct {
			Port        string `yaml:"port"`
			Path        string `yaml:"path"`
			Interval    string `yaml:"interval"`
			Relabelings []struct {
				SourceLabels []string `yaml:"sourceLabels"`
				TargetLabel  string   `yaml:"targetLabel"`
			} `yaml:"relabelings"`
		} `yaml:"podMetricsEndpoints"`
	} `yaml:"spec"`
}

// The operator finds the pods of the Deployment in every namespace, at their admin port, and names them as the rules expect it.
func TestOperatorFindsTheReplicas(t *testing.T) {
	m := readManifests(t)
	var monitor podMonitor
	decode(t, "operator/podmonitor.yaml", func(string) any { return &monitor })
	labels := m.deployment.Spec.Template.Metadata.Labels
	if diff := cmp.Diff(labels, monitor.Spec.Selector.MatchLabels); diff != "" || !monitor.Spec.NamespaceSelector.Any {
		t.Errorf("it selects other pods, or not those of each namespace: %s", diff)
	}
	if job := labels[monitor.Spec.JobLabel]; job != "verification-status" {
		t.Errorf("the job is %q; the rules are about verification-status", job)
	}
	if len(monitor.Spec.Endpoints) != 1 {
		t.Fatalf("endpoints %+v", monitor.Spec.Endpoints)
	}
	endpoint := monitor.Spec.Endpoints[0]
	m.port(t, endpoint.Port)
	if r := endpoint.Relabelings; len(r) != 1 || r[0].TargetLabel != "instance" || !slices.Equal(r[0].SourceLabels, []string{"__meta_kubernetes_pod_name"}) {
		t.Errorf("relabelings %+v; want the pod's name as instance", r)
	}
	var objects kustomization
	decode(t, "operator/kustomization.yaml", func(string) any { return &objects })
	if !slices.Equal(objects.Resources, []string{"podmonitor.yaml", "prometheusrule.yaml"}) {
		t.Errorf("kustomization.yaml has %v", objects.Resources)
	}
}
