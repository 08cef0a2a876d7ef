package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTriggerSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("whsec_planted3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		command triggerCommand
		want    []string
		wrong   string // a part of the error
	}{
		"one":           {triggerCommand{Secret: "whsec_planted1"}, []string{"whsec_planted1"}, ""},
		"two":           {triggerCommand{Secret: "whsec_planted1, whsec_planted2"}, []string{"whsec_planted1", "whsec_planted2"}, ""},
		"another form":  {triggerCommand{Secret: "planted"}, []string{"planted"}, ""},
		"a file":        {triggerCommand{SecretFile: file}, []string{"whsec_planted3"}, ""},
		"none":          {triggerCommand{}, nil, "STRIPE_WEBHOOK_SECRET is not set"},
		"an empty one":  {triggerCommand{Secret: "whsec_planted1,"}, nil, "has an empty secret"},
		"both":          {triggerCommand{Secret: "whsec_planted1", SecretFile: file}, nil, "remove one of the two"},
		"no such file":  {triggerCommand{SecretFile: file + "x"}, nil, "STRIPE_WEBHOOK_SECRET_FILE"},
		"another error": {triggerCommand{SecretFile: filepath.Dir(file)}, nil, "STRIPE_WEBHOOK_SECRET_FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.command.secrets()
			if !slices.Equal(got, tc.want) {
				t.Errorf("secrets: got %q, want %q", got, tc.want)
			}
			if (err == nil) != (tc.wrong == "") || err != nil && (!strings.Contains(err.Error(), tc.wrong) || strings.Contains(err.Error(), "planted")) {
				t.Errorf("error: got %v, want %q in it", err, tc.wrong)
			}
		})
	}
}
