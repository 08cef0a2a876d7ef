package telemetry

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

// A secret that is added later is concealed from then on, also by loggers that were derived before. Earlier secrets stay concealed.
func TestSecretsAreLearnedWhileTheLoggerIsInUse(t *testing.T) {
	secrets := NewSecrets("planted-first")
	var out bytes.Buffer
	logger, err := NewLogger(&out, "info", "text", WithSecrets(secrets))
	if err != nil {
		t.Fatal(err)
	}
	child := logger.With("a", 1).WithGroup("g")
	child.Info("before", "text", "planted-second")
	if !strings.Contains(out.String(), "planted-second") {
		t.Fatal("it was concealed before it was known: this test proves nothing")
	}
	out.Reset()
	secrets.Add("planted-second", "short")
	child.Info("after planted-first", "text", "x planted-second y", "other", "shorter")
	if log := out.String(); strings.Contains(log, "planted") || !strings.Contains(log, "shorter") || strings.Count(log, concealed) != 2 {
		t.Errorf("log: %s", log)
	}
}

// Secrets can be added during logging, and none is lost.
func TestSecretsAreSafeForConcurrentUse(t *testing.T) {
	secrets := NewSecrets()
	redactor := textRedactor{secrets: secrets}
	texts := make([]string, 20)
	for i := range texts {
		texts[i] = "planted-" + strings.Repeat("x", i+1)
	}
	var adding sync.WaitGroup
	for _, text := range texts {
		adding.Go(func() {
			secrets.Add(text)
			if got := redactor.redact(text); strings.Contains(got, text) {
				t.Errorf("%q was added, and is shown as %q", text, got)
			}
		})
	}
	adding.Wait()
	for _, text := range texts {
		if got := redactor.redact("a " + text + " b"); got != "a "+concealed+" b" {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
}
