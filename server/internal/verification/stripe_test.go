package verification

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestG10_SecretsAreConcealed: no usual way of writing a text shows a secret.
func TestG10_SecretsAreConcealed(t *testing.T) {
	link := Link{URL: "https://verify.example/s3cret", ClientSecret: "vs_1_secret_s3cret"}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "link", link, "url", link.URL)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "link", link, "url", link.URL)
	encoded, err := json.Marshal(Retrieved{Link: link})
	if err != nil {
		t.Fatal(err)
	}
	for how, text := range map[string]string{
		"slog": logged.String(), "json": string(encoded), "errors": fmt.Errorf("x: %v", link).Error(),
		"%v": fmt.Sprintf("%v", link), "%+v": fmt.Sprintf("%+v", &link), "%#v": fmt.Sprintf("%#v", link),
		"%s": fmt.Sprintf("%s", link.URL), "%q": fmt.Sprintf("%q", link.URL), "%x": fmt.Sprintf("%x", link.URL),
	} {
		if strings.Contains(text, "s3cret") || strings.Contains(text, fmt.Sprintf("%x", "s3cret")) || !strings.Contains(text, "secret") && how != "%x" {
			t.Errorf("%s tells %q", how, text)
		}
	}
	if link.URL.Reveal() != "https://verify.example/s3cret" {
		t.Error("and cannot be used")
	}
}

// TestStripeRefusedErrorNamesTheCode: the caller decides by the code.
func TestStripeRefusedErrorNamesTheCode(t *testing.T) {
	err := fmt.Errorf("creating: %w", &StripeRefusedError{Code: "status_transition_invalid"})
	var refused *StripeRefusedError
	if !errors.As(err, &refused) || refused.Code != "status_transition_invalid" || !strings.Contains(err.Error(), refused.Code) {
		t.Error(err)
	}
}
