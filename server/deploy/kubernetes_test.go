package deploy

import (
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"example.com/verification-status/server/internal/config"
)

// manifests has every object in kubernetes/.
type manifests struct {
	deployment    deployment
	pod           pod
	server        container
	services      map[string]service
	policy        networkPolicy
	budget        disruptionBudget
	account       serviceAccount
	kustomization kustomization
}

// decode reads all documents of a file into the values that newDocument returns for their kinds.
func decode(t *testing.T, file string, newDocument func(kind string) any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decodeText(t, file, string(text), newDocument)
}

func decodeText(t *testing.T, file, text string, newDocument func(kind string) any) {
	t.Helper()
	kinds, documents := yaml.NewDecoder(strings.NewReader(text)), yaml.NewDecoder(strings.NewReader(text))
	documents.KnownFields(true)
	for {
		var kind struct{ Kind string }
		if err := kinds.Decode(&kind); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := documents.Decode(newDocument(kind.Kind)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
}

func readManifests(t *testing.T) *manifests {
	t.Helper()
	var base kustomization
	decode(t, "kubernetes/kustomization.yaml", func(string) any { return &base })
	texts := map[string]string{}
	for _, file := range base.Resources {
		text, err := os.ReadFile(filepath.Join("kubernetes", file))
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	m := manifestsOf(t, texts)
	m.kustomization = base
	return m
}

// manifestsOf decodes the objects in texts, by the name of their file.
func manifestsOf(t *testing.T, texts map[string]string) *manifests {
	t.Helper()
	m := &manifests{services: map[string]service{}}
	var services []*service
	for file, text := range texts {
		decodeText(t, file, text, func(kind string) any {
			switch kind {
			case "Deployment":
				return &m.deployment
			case "Service":
				services = append(services, &service{})
				return services[len(services)-1]
			case "NetworkPolicy":
				return &m.policy
			case "PodDisruptionBudget":
				return &m.budget
			case "ServiceAccount":
				return &m.account
			}
			t.Fatalf("%s holds a %q, which this test does not know", file, kind)
			return nil
		})
	}
	for _, s := range services {
		m.services[s.Metadata.Name] = *s
	}
	m.pod = m.deployment.Spec.Template.Spec
	if len(m.pod.Containers) != 1 || len(m.services) != 2 {
		t.Fatalf("%d containers, %d services", len(m.pod.Containers), len(m.services))
	}
	m.server = m.pod.Containers[0]
	return m
}

// setting returns the value of a setting in the Deployment, else its default.
func (m *manifests) setting(t *testing.T, name string) string {
	t.Helper()
	for _, variable := range m.server.Env {
		if variable.Name == name {
			return variable.Value
		}
	}
	for _, setting := range config.Table() {
		if setting.Env == name {
			return setting.Default
		}
	}
	t.Fatalf("%s is neither in the Deployment nor a setting", name)
	return ""
}

func (m *manifests) duration(t *testing.T, name string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(m.setting(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (m *manifests) port(t *testing.T, name string) int {
	t.Helper()
	for _, port := range m.server.Ports {
		if port.Name == name {
			return port.ContainerPort
		}
	}
	t.Fatalf("the container has no port %q", name)
	return 0
}

// Every file is used, and every resource is there.
func TestKustomizationNamesEveryFile(t *testing.T) {
	m := readManifests(t)
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); name != "kustomization.yaml" && !slices.Contains(m.kustomization.Resources, name) {
			t.Errorf("kustomization.yaml does not name %s", name)
		}
	}
	if images := m.kustomization.Images; len(images) != 1 || images[0].Name != m.server.Image || images[0].NewTag == "" || images[0].NewTag == "latest" {
		t.Errorf("the image %q and its registry %+v", m.server.Image, images)
	}
}

// checkSettings fails the test if the Deployment sets what is no setting, a secret, or a setting twice.
func (m *manifests) checkSettings(t *testing.T) (seen map[string]bool) {
	t.Helper()
	seen = map[string]bool{}
	for _, variable := range m.server.Env {
		checkSetting(t, variable.Name, variable.Value)
		if seen[variable.Name] {
			t.Errorf("%s is set twice", variable.Name)
		}
		seen[variable.Name] = true
	}
	return seen
}

// checkSetting fails the test if name is no setting of the server, or a secret, which belongs into a file.
func checkSetting(t *testing.T, name, value string) {
	t.Helper()
	const goRuntime = "GOMEMLIMIT"
	table := config.Table()
	at := slices.IndexFunc(table, func(s config.Setting) bool { return s.Env == name })
	if at < 0 && name != goRuntime {
		t.Errorf("%s is no setting", name)
	}
	if at >= 0 && table[at].Secret || value == "" {
		t.Errorf("%s is a secret, or empty", name)
	}
}

func TestDeploymentSetsSettings(t *testing.T) {
	seen := readManifests(t).checkSettings(t)
	for _, required := range []string{"REDIS_URL_FILE", "STRIPE_WEBHOOK_SECRET_FILE", "STRIPE_API_KEY_FILE", "GRPC_TLS_CERT_FILE", "GRPC_TLS_KEY_FILE", "GRPC_TOKENS_FILE"} {
		if !seen[required] {
			t.Errorf("%s is not set", required)
		}
	}
}

// Each setting of a file names a file of the volume, and the volume has no other file.
func TestSecretsAreFiles(t *testing.T) {
	m := readManifests(t)
	if len(m.pod.Volumes) != 1 || len(m.server.VolumeMounts) != 1 {
		t.Fatalf("volumes %v, mounts %v", m.pod.Volumes, m.server.VolumeMounts)
	}
	secrets, mount := m.pod.Volumes[0], m.server.VolumeMounts[0]
	if mount.Name != secrets.Name || !mount.ReadOnly || secrets.Projected.DefaultMode != 0o440 || m.pod.SecurityContext.FSGroup == 0 {
		t.Errorf("volume %+v, mount %+v, group %d", secrets, mount, m.pod.SecurityContext.FSGroup)
	}
	var brought, wanted []string
	for _, source := range secrets.Projected.Sources {
		if source.Secret.Name == "" {
			t.Error("a source is no secret")
		}
		for _, item := range source.Secret.Items {
			brought = append(brought, path.Join(mount.MountPath, item.Path))
		}
	}
	for _, variable := range m.server.Env {
		if strings.HasSuffix(variable.Name, "_FILE") {
			wanted = append(wanted, variable.Value)
		}
	}
	slices.Sort(brought)
	slices.Sort(wanted)
	if !slices.Equal(brought, wanted) {
		t.Errorf("the volume brings %v, the settings name %v", brought, wanted)
	}
}

func TestPodMayDoNothingElse(t *testing.T) {
	m := readManifests(t)
	no := func(b *bool) bool { return b != nil && !*b }
	p, c := m.pod.SecurityContext, m.server.SecurityContext
	if !p.RunAsNonRoot || p.RunAsUser != 65532 || p.SeccompProfile.Type != "RuntimeDefault" {
		t.Errorf("pod: %+v", p)
	}
	if !c.ReadOnlyRootFilesystem || !no(c.AllowPrivilegeEscalation) || !no(c.Privileged) || !slices.Equal(c.Capabilities.Drop, []string{"ALL"}) {
		t.Errorf("container: %+v", c)
	}
	if !no(m.pod.AutomountServiceAccountToken) || !no(m.account.AutomountServiceAccountToken) || !no(m.pod.EnableServiceLinks) ||
		m.pod.ServiceAccountName != m.account.Metadata.Name {
		t.Error("the pod gets a token of Kubernetes, or variables that it does not know")
	}
	if c := m.server.Resources; c.Requests["cpu"] == "" || c.Requests["memory"] == "" || c.Limits["memory"] == "" || c.Limits["cpu"] != "" {
		t.Errorf("resources %+v", c)
	}
	m.checkMemory(t)
}
