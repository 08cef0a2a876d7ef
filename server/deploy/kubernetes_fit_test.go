package deploy

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/document"
)

// stopMargin is the time that a stop can take beyond DRAIN_TIMEOUT if something hangs, and a reserve.
const stopMargin = 5 * time.Second

const (
	// lookEvery is the least time between two DNS lookups of a gRPC client.
	lookEvery = 30 * time.Second
	// namesLag is the greatest age of a DNS answer: the ttl that kubeadm gives CoreDNS.
	namesLag = 30 * time.Second
)

// A client that has just resolved only old replicas must be able to resolve again before the last of them stops.
func TestPreStopOutlastsWhatClientsKnow(t *testing.T) {
	preStop := time.Duration(readManifests(t).server.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	if preStop <= lookEvery+namesLag {
		t.Errorf("preStop is %v: clients may know only old replicas for %v", preStop, lookEvery+namesLag)
	}
}

// If Kubernetes cuts off a stop, the stop is a crash.
func TestGracePeriodIsLongEnough(t *testing.T) {
	m := readManifests(t)
	preStop := time.Duration(m.server.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	grace := time.Duration(m.pod.TerminationGracePeriodSeconds) * time.Second
	if drain := m.duration(t, "DRAIN_TIMEOUT"); preStop <= 0 || grace < preStop+drain+stopMargin {
		t.Errorf("terminationGracePeriodSeconds is %v, which is less than preStop %v + DRAIN_TIMEOUT %v + %v", grace, preStop, drain, stopMargin)
	}
	// Kubernetes sees that a replica is not ready before the replica closes its port.
	ready := m.server.ReadinessProbe
	if noticed := time.Duration(ready.PeriodSeconds*ready.FailureThreshold) * time.Second; noticed > preStop {
		t.Errorf("not ready is noticed after %v, later than preStop %v", noticed, preStop)
	}
}

func TestProbesAskTheAdminPort(t *testing.T) {
	m := readManifests(t)
	for name, p := range map[string]struct {
		probe
		path string
	}{
		"startup":   {m.server.StartupProbe, "/livez"},
		"liveness":  {m.server.LivenessProbe, "/livez"},
		"readiness": {m.server.ReadinessProbe, "/readyz"},
	} {
		if p.HTTPGet.Port != "admin" || p.HTTPGet.Path != p.path || p.PeriodSeconds < 1 || p.FailureThreshold < 1 {
			t.Errorf("%s: %+v", name, p.probe)
		}
	}
	if s := m.server.StartupProbe; s.PeriodSeconds*s.FailureThreshold < 20 {
		t.Error("a start on a busy node can take longer than the startup probe allows")
	}
}

// The ports are those that the settings open, on every interface.
func TestPortsAreThoseOfTheSettings(t *testing.T) {
	m := readManifests(t)
	for port, name := range map[string]string{"grpc": "GRPC_ADDR", "webhook": "WEBHOOK_ADDR", "admin": "ADMIN_ADDR"} {
		if addr := m.setting(t, name); addr != ":"+strconv.Itoa(m.port(t, port)) {
			t.Errorf("%s is %q, the container's port %d", name, addr, m.port(t, port))
		}
	}
}

func TestServicesLeadToThePods(t *testing.T) {
	m := readManifests(t)
	labels := m.deployment.Spec.Template.Metadata.Labels
	for name, selected := range map[string]map[string]string{
		"Deployment": m.deployment.Spec.Selector.MatchLabels, "PodDisruptionBudget": m.budget.Spec.Selector.MatchLabels,
		"NetworkPolicy": m.policy.Spec.PodSelector.MatchLabels,
		"spread 0":      m.pod.TopologySpreadConstraints[0].LabelSelector.MatchLabels,
		"spread 1":      m.pod.TopologySpreadConstraints[1].LabelSelector.MatchLabels,
	} {
		if len(labels) == 0 || !maps.Equal(selected, labels) {
			t.Errorf("%s selects %v; the pods are %v", name, selected, labels)
		}
	}
	for name, want := range map[string]struct{ ip, port string }{
		"verification-status": {"None", "grpc"}, "verification-status-webhook": {"", "webhook"},
	} {
		s := m.services[name]
		if !maps.Equal(s.Spec.Selector, labels) || s.Spec.Type != "ClusterIP" || s.Spec.ClusterIP != want.ip ||
			len(s.Spec.Ports) != 1 || s.Spec.Ports[0].TargetPort != want.port {
			t.Errorf("%s: %+v", name, s.Spec)
		}
	}
	// The Service is headless: clients connect to the pod's own port.
	if s := m.services["verification-status"]; len(s.Spec.Ports) != 1 || s.Spec.Ports[0].Port != m.port(t, "grpc") {
		t.Errorf("the headless service has %v", s.Spec.Ports)
	}
}

// Each port is open only to peers that the policy names, and the admin port only to Prometheus.
func TestNetworkPolicy(t *testing.T) {
	m := readManifests(t)
	if !slices.Equal(m.policy.Spec.PolicyTypes, []string{"Ingress", "Egress"}) {
		t.Errorf("it is for %v", m.policy.Spec.PolicyTypes)
	}
	open := map[string]int{}
	for _, passage := range m.policy.Spec.Ingress {
		if len(passage.From) != 1 || len(passage.Ports) != 1 {
			t.Fatalf("a passage for everyone or to every port: %+v", passage)
		}
		open[passage.Ports[0].Port]++
		from := passage.From[0]
		if passage.Ports[0].Port == "admin" && (from.NamespaceSelector == nil || from.PodSelector == nil ||
			len(from.NamespaceSelector.MatchLabels) == 0 || len(from.PodSelector.MatchLabels) == 0) {
			t.Errorf("the admin port is open to %+v", from)
		}
	}
	if want := map[string]int{"grpc": 1, "webhook": 1, "admin": 1}; !maps.Equal(open, want) {
		t.Errorf("open: %v", open)
	}
	for _, passage := range m.policy.Spec.Egress {
		if len(passage.Ports) == 0 {
			t.Errorf("a way out to every port: %+v", passage)
		}
	}
}

func TestAvailability(t *testing.T) {
	m := readManifests(t)
	s := m.deployment.Spec
	if s.Replicas != 3 || s.Strategy.RollingUpdate.MaxUnavailable != 0 || s.Strategy.RollingUpdate.MaxSurge < 1 || m.budget.Spec.MaxUnavailable != 1 {
		t.Errorf("%d replicas, %+v, %+v", s.Replicas, s.Strategy, m.budget.Spec)
	}
}

// The documented table of numbers has those of the manifests.
func TestDocumentedNumbersAreThoseOfTheManifests(t *testing.T) {
	m := readManifests(t)
	limits := document.Text(t, "server/docs/limits.md")
	preStop, grace := m.server.Lifecycle.PreStop.Sleep.Seconds, m.pod.TerminationGracePeriodSeconds
	for _, row := range []string{
		"| `preStop` | " + strconv.Itoa(preStop) + " s",
		"| `terminationGracePeriodSeconds` | " + strconv.Itoa(grace) + " s",
		"| readiness is asked | every " + strconv.Itoa(m.server.ReadinessProbe.PeriodSeconds) + " s",
	} {
		if !strings.Contains(limits, row) {
			t.Errorf("server/docs/limits.md has no row that begins %q", row)
		}
	}
}
