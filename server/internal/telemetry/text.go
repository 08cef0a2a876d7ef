package telemetry

import (
	"regexp"
	"strings"
)

// concealed stands in the log in place of a secret.
const concealed = "[secret]"

// shapes are the forms of secrets. A text without the needle cannot match, so that the expression, which is slow, does not run
// on ordinary texts. No expression begins with a word boundary: in an escaped text, a secret can follow "\n" without one.
var shapes = []struct {
	needle      string
	expression  *regexp.Regexp
	replacement string
}{
	// API keys: docs.stripe.com/keys
	{"_live_", regexp.MustCompile(`[sr]k_(?:org_)?live_[A-Za-z0-9_]+`), concealed},
	{"_test_", regexp.MustCompile(`[sr]k_(?:org_)?test_[A-Za-z0-9_]+`), concealed},
	// Signing secrets of webhook endpoints: docs.stripe.com/webhooks
	{"whsec_", regexp.MustCompile(`whsec_[A-Za-z0-9_+/=-]+`), concealed},
	// Callers' bearer tokens; see server token new.
	{"vst_", regexp.MustCompile(`vst_[A-Za-z0-9_-]{43}`), concealed},
	// A session's client_secret begins with the session's id, which stays.
	{"_secret_", regexp.MustCompile(`(vs_[A-Za-z0-9_]*?_secret_)[A-Za-z0-9_-]+`), "${1}" + concealed},
	// Stripe's hosted page, and every other URL with /verify/<token> in its path.
	{"verify.stripe.com", regexp.MustCompile(`(verify\.stripe\.com(?:/|%2F))[^\s"'\\<>]+`), "${1}" + concealed},
	{"verify", regexp.MustCompile(`((?:/|%2F)verify(?:/|%2F))[^\s"'\\<>]+`), "${1}" + concealed},
	// The user and password of a Redis URL, up to the last @: a password can contain an unescaped one.
	{"redis", regexp.MustCompile(`(rediss?://)[^\s"\\]*@`), "${1}" + concealed + "@"},
}

// textRedactor removes secrets from texts.
type textRedactor struct{ secrets *Secrets }

// redact returns the text with every secret replaced.
func (s *textRedactor) redact(text string) string {
	for _, literal := range *s.secrets.literals.Load() {
		if strings.Contains(text, literal) {
			text = strings.ReplaceAll(text, literal, concealed)
		}
	}
	for _, shape := range shapes {
		if strings.Contains(text, shape.needle) {
			text = shape.expression.ReplaceAllString(text, shape.replacement)
		}
	}
	return text
}
