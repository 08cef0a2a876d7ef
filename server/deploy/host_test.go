package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"example.com/verification-status/server/internal/config"
)

// readEnv returns the variables of a file of settings, and those that are written there as a comment.
func readEnv(t *testing.T, file string) (set, offered map[string]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	set, offered = map[string]string{}, map[string]string{}
	line := regexp.MustCompile(`^(#?)([A-Z][A-Z0-9_]*)=(.*)$`)
	for text := range strings.Lines(string(text)) {
		text = strings.TrimSuffix(text, "\n")
		match := line.FindStringSubmatch(text)
		switch {
		case match != nil && match[1] == "":
			set[match[2]] = match[3]
		case match != nil:
			offered[match[2]] = match[3]
		case text != "" && !strings.HasPrefix(text, "# "):
			t.Errorf("%s: %q is no line of settings, and no comment", file, text)
		}
	}
	return set, offered
}

// loadSettings reads settings as serve does it, with the secrets in a folder of the test. Variables of the test's own environment do not count.
func loadSettings(t *testing.T, settings map[string]string) *config.Config {
	t.Helper()
	for _, s := range config.Table() {
		t.Setenv(s.Env, "") // Setenv, so that the test's end brings the variable back
		os.Unsetenv(s.Env)
	}
	secrets := t.TempDir()
	certPEM, keyPEM, _ := certificate(t)
	for name, content := range map[string]string{
		"redis-url": "redis://redis:6379", "stripe-api-key": "sk_live_0123456789abcdef", "stripe-webhook-secret": webhookSecret,
		"tokens": "# nobody yet", "tls.crt": string(certPEM), "tls.key": string(keyPEM),
	} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range settings {
		if strings.HasSuffix(name, "_FILE") {
			value = filepath.Join(secrets, strings.TrimPrefix(value, "/etc/verification-status/"))
		}
		t.Setenv(name, value)
	}
	var c config.Config
	parser, err := kong.New(&c, config.Vars())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(); err != nil {
		t.Error(err)
	}
	return &c
}

// Every line of the example is a setting with a value that serve accepts, also the lines that are comments.
func TestExampleSettings(t *testing.T) {
	set, offered := readEnv(t, "host/example.env")
	for name, value := range set {
		checkSetting(t, name, value)
	}
	for name, value := range offered {
		checkSetting(t, name, value)
		if _, twice := set[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		set[name] = value
	}
	loadSettings(t, set)
}

// composeFile is the part of the compose specification that the file uses. Another field is an error.
type composeFile struct {
	Name     string                    `yaml:"name"`
	Services map[string]composeService `yaml:"services"`
	Volumes  map[string]struct{}       `yaml:"volumes"`
}

type composeService struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	EnvFile     string            `yaml:"env_file"`
	Environment map[string]string `yaml:"environment"`
	Volumes     []string          `yaml:"volumes"`
	Ports       []string          `yaml:"ports"`
	User        string            `yaml:"user"`
	ReadOnly    bool              `yaml:"read_only"`
	CapDrop     []string          `yaml:"cap_drop"`
	SecurityOpt []string          `yaml:"security_opt"`
	MemLimit    string            `yaml:"mem_limit"`
	Healthcheck struct {
		Test        []string `yaml:"test"`
		Interval    string   `yaml:"interval"`
		Timeout     string   `yaml:"timeout"`
		StartPeriod string   `yaml:"start_period"`
		Retries     int      `yaml:"retries"`
	} `yaml:"healthcheck"`
	StopGracePeriod string   `yaml:"stop_grace_period"`
	Restart         string   `yaml:"restart"`
	DependsOn       []string `yaml:"depends_on"`
}

// The compose file runs the image with the example's settings, publishes the ports that they open, and gives Redis what the server asks for.
func TestComposeFile(t *testing.T) {
	var file composeFile
	decode(t, "host/compose.yaml", func(string) any { return &file })
	m, server, redis := readManifests(t), file.Services["server"], file.Services["redis"]
	settings, _ := readEnv(t, filepath.Join("host", server.EnvFile))
	for name, value := range server.Environment {
		checkSetting(t, name, value)
		settings[name] = value
	}
	c := loadSettings(t, settings)
	for _, addr := range []string{c.GRPCAddr, c.WebhookAddr, c.AdminAddr} {
		published := slices.ContainsFunc(server.Ports, func(port string) bool { return strings.HasSuffix(":"+port, addr+addr) })
		if !strings.HasPrefix(addr, ":") || !published {
			t.Errorf("%s is not open outside of the container, or not published: %v", addr, server.Ports)
		}
	}
	if !slices.Contains(server.Ports, "127.0.0.1"+c.AdminAddr+c.AdminAddr) {
		t.Errorf("profiles are open to other machines: %v", server.Ports)
	}
	if grace, err := time.ParseDuration(server.StopGracePeriod); err != nil || grace < time.Duration(c.DrainTimeout)+stopMargin {
		t.Errorf("stop_grace_period %q, DRAIN_TIMEOUT %v", server.StopGracePeriod, c.DrainTimeout)
	}
	checkMemory(t, settings["GOMEMLIMIT"], strings.ToUpper(server.MemLimit)+"i")
	if !slices.Equal(server.Command, m.server.Args) || server.User != "65532:65532" || !server.ReadOnly || !slices.Equal(server.CapDrop, []string{"ALL"}) ||
		!slices.Equal(server.SecurityOpt, []string{"no-new-privileges:true"}) || !slices.Equal(server.Volumes, []string{"./secrets:/etc/verification-status:ro"}) {
		t.Errorf("server: %+v", server)
	}
	if !slices.Equal(server.Healthcheck.Test, []string{"CMD", "/server", "healthcheck"}) {
		t.Errorf("healthcheck %v", server.Healthcheck.Test)
	}
	if command := strings.Join(redis.Command, " "); !strings.Contains(command, "--appendonly yes") || !strings.Contains(command, "--maxmemory-policy noeviction") {
		t.Errorf("redis: %s", command)
	}
}

// The runbook's commands for one machine name what the compose file and the unit have.
func TestRunbookKnowsOneMachine(t *testing.T) {
	runbook, err := os.ReadFile("RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile("host/verification-status.service")
	if err != nil {
		t.Fatal(err)
	}
	var file composeFile
	decode(t, "host/compose.yaml", func(string) any { return &file })
	if len(file.Services["server"].Command) == 0 {
		t.Error("compose.yaml has no service with the name server")
	}
	want := []string{"docker compose exec -T server /server ", "docker compose restart server"}
	for line := range strings.Lines(string(unit)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "User", "EnvironmentFile":
			want = append(want, "-p "+name+"="+value+" ")
		case "ExecStart":
			program, _ := strings.CutSuffix(value, "serve")
			want = append(want, program+"reconcile`")
		}
	}
	if len(want) != 5 {
		t.Errorf("the unit has other lines than User, EnvironmentFile and ExecStart: %q", want)
	}
	for _, text := range want {
		if !strings.Contains(string(runbook), text) {
			t.Errorf("the runbook does not have %q", text)
		}
	}
}

// The unit runs the program with the example's settings, and its limits fit them.
func TestSystemdUnit(t *testing.T) {
	text, err := os.ReadFile("host/verification-status.service")
	if err != nil {
		t.Fatal(err)
	}
	unit, section := map[string]string{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
		} else if name, value, found := strings.Cut(line, "="); found && !strings.HasPrefix(line, "#") {
			if _, twice := unit[section+" "+name]; twice {
				t.Errorf("%s is there twice", name)
			}
			unit[section+" "+name] = value
		}
	}
	settings, _ := readEnv(t, "host/example.env")
	c := loadSettings(t, settings)
	seconds, err := time.ParseDuration(unit["Service TimeoutStopSec"] + "s")
	if err != nil || seconds < time.Duration(c.DrainTimeout)+stopMargin {
		t.Errorf("TimeoutStopSec is %s, DRAIN_TIMEOUT %v", unit["Service TimeoutStopSec"], c.DrainTimeout)
	}
	checkMemory(t, settings["GOMEMLIMIT"], unit["Service MemoryMax"]+"i")
	var files int
	for _, digit := range unit["Service LimitNOFILE"] {
		files = 10*files + int(digit-'0')
	}
	if connections := int(c.GRPCMaxConnections + c.WebhookMaxConnections); files < connections+1000 {
		t.Errorf("LimitNOFILE is %d for %d connections of callers and Stripe", files, connections)
	}
	for name, want := range map[string]string{
		"Service ExecStart": "/usr/local/bin/verification-status serve", "Service ExecReload": "/bin/kill -HUP $MAINPID",
		"Service EnvironmentFile": "/etc/verification-status/env", "Service CapabilityBoundingSet": "", "Service NoNewPrivileges": "yes",
		"Service ProtectSystem": "strict", "Install WantedBy": "multi-user.target",
	} {
		if got, found := unit[name]; got != want || !found {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
}
