package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every secret of these tests contains "planted", and nothing else does.
const (
	literalKey      = "planted key/with \"signs\""
	literalPassword = "planted-pass"
)

var secretTexts = []string{
	"sk_test_planted0", "sk_live_planted0", "rk_live_planted0", "rk_test_planted_0", "sk_org_live_planted0",
	"vst_planted0" + strings.Repeat("A", 35), "whsec_planted0/+=", "vs_1Abc_secret_planted0", "vs_1Abc_secret_test_planted0",
	"https://verify.stripe.com/start/test_planted0", "https://verify.stripe.com/start/a?b=planted0#planted0",
	"http://127.0.0.1:12111/verify/planted_0", "/verify/planted0", "return=https%3A%2F%2Fh%2Fverify%2Fplanted0",
	"redis://user:planted0@host:6379/0", "rediss://:pl@planted0@host", "redis://planted-user@host",
	literalKey, literalPassword, "redis://x:" + literalPassword + "@h", "planted+key%2Fwith+%22signs%22", "planted%20key%2Fwith%20%22signs%22",
}

type textValue struct{ Text string }

func (v textValue) LogValue() slog.Value { return slog.GroupValue(slog.String("text", v.Text)) }

type stringer struct{ text string }

func (s stringer) String() string { return s.text }

type plain struct {
	Name  string
	Inner *plain
	Raw   any
}

type marshaler struct{ text string }

func (m marshaler) MarshalJSON() ([]byte, error) { return json.Marshal(m.text) }

type failure struct{ text string }

func (f *failure) Error() string { return "failed: " + f.text }

type failingStringer struct{ text string }

func (v failingStringer) String() string { panic(v.text) }

// ways has all ways in which a text can get into a record.
var ways = map[string]func(log *slog.Logger, secret string){
	"message":    func(log *slog.Logger, s string) { log.Info("got " + s + " there") },
	"string":     func(log *slog.Logger, s string) { log.Info("m", "k", s) },
	"key":        func(log *slog.Logger, s string) { log.Info("m", s, 1) },
	"newline":    func(log *slog.Logger, s string) { log.Info("m", "k", "a\n"+s+"\nb") },
	"glued":      func(log *slog.Logger, s string) { log.Info("m", "k", "key="+s+";") },
	"quoted":     func(log *slog.Logger, s string) { log.Info("m", "k", fmt.Sprintf("got %q", s)) },
	"json text":  func(log *slog.Logger, s string) { log.Info("m", "k", mustJSON(map[string]string{"v": s})) },
	"error":      func(log *slog.Logger, s string) { log.Info("m", "error", errors.New("x "+s)) },
	"wrapped":    func(log *slog.Logger, s string) { log.Info("m", "error", fmt.Errorf("a: %w", &failure{s})) },
	"joined":     func(log *slog.Logger, s string) { log.Info("m", "error", errors.Join(errors.New("a"), &failure{s})) },
	"stringer":   func(log *slog.Logger, s string) { log.Info("m", "k", stringer{s}) },
	"log valuer": func(log *slog.Logger, s string) { log.Info("m", "k", textValue{s}) },
	"panic":      func(log *slog.Logger, s string) { log.Info("m", "k", failingStringer{s}) },
	"struct":     func(log *slog.Logger, s string) { log.Info("m", "k", plain{Name: s}) },
	"pointer":    func(log *slog.Logger, s string) { log.Info("m", "k", &plain{Raw: stringer{s}}) },
	"marshaler":  func(log *slog.Logger, s string) { log.Info("m", "k", marshaler{s}) },
	"bytes":      func(log *slog.Logger, s string) { log.Info("m", "k", []byte(s)) },
	"raw json":   func(log *slog.Logger, s string) { log.Info("m", "k", json.RawMessage(mustJSON(s))) },
	"strings":    func(log *slog.Logger, s string) { log.Info("m", "k", []string{"a", s}) },
	"map":        func(log *slog.Logger, s string) { log.Info("m", "k", map[string]any{"a": map[string]string{"b": s}}) },
	"map key":    func(log *slog.Logger, s string) { log.Info("m", "k", map[string]any{s: map[string]int{s: 1}}) },
	"header":     func(log *slog.Logger, s string) { log.Info("m", "k", http.Header{"X": {s}}) },
	"group":      func(log *slog.Logger, s string) { log.Info("m", slog.Group("a", slog.Group("b", "c", s))) },
	"with":       func(log *slog.Logger, s string) { log.With("k", s).Info("m") },
	"with group": func(log *slog.Logger, s string) { log.WithGroup("g").With("k", errors.New(s)).Info("m", "l", s) },
	"context": func(log *slog.Logger, s string) {
		log.LogAttrs(context.Background(), slog.LevelError, s, slog.Any("k", s))
	},
}

func mustJSON(v any) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err)
	}
	return out.String()
}

func newTestLogger(t testing.TB, w *bytes.Buffer, format string) *slog.Logger {
	t.Helper()
	log, err := NewLogger(w, "debug", format, WithSecrets(NewSecrets(literalKey, "short", "", literalPassword)))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestNoSecretLeaves(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		for _, way := range slices.Sorted(maps.Keys(ways)) {
			for _, secret := range secretTexts {
				var out bytes.Buffer
				ways[way](newTestLogger(t, &out, format), secret)
				line := out.String()
				if strings.Contains(line, "planted") || !strings.Contains(line, concealed) {
					t.Errorf("%s, %s, %s: %s", format, way, secret, line)
				}
				if format == "json" && !json.Valid(out.Bytes()) {
					t.Errorf("%s, %s: no JSON: %s", way, secret, line)
				}
			}
		}
	}
}

func TestWhatIsNoSecretStays(t *testing.T) {
	for _, text := range []string{
		"vs_1Abc", "vs_1Abc_secretary", "the secret is out", "whsec", "sk_", "mask_testing", "https://stripe.com/verify",
		"/verification/x", "verification.v1.VerificationService", "redis://host:6379/0", "a@b redis", "pk_test_public", "short",
	} {
		var out bytes.Buffer
		newTestLogger(t, &out, "json").Info(text, "k", text, "error", errors.New(text))
		if strings.Contains(out.String(), concealed) || strings.Count(out.String(), text) != 3 {
			t.Errorf("%q became %s", text, out.String())
		}
	}
}

func TestSessionIdOfAClientSecretStays(t *testing.T) {
	var out bytes.Buffer
	newTestLogger(t, &out, "json").Info("vs_1Abc_secret_planted0 at https://verify.stripe.com/start/planted0 of redis://u:planted@h:1/0")
	if want := "vs_1Abc_secret_[secret] at https://verify.stripe.com/[secret] of redis://[secret]@h:1/0"; !strings.Contains(out.String(), want) {
		t.Errorf("got %s", out.String())
	}
}

func TestSecretNames(t *testing.T) {
	for name, concealedValue := range map[string]bool{
		"client_secret": true, "STRIPE_WEBHOOK_SECRET": true, "Authorization": true, "redis_password": true, "api_key": true,
		"STRIPE_API_KEY": true, "Stripe-Signature": true, "token": true, "Set-Cookie": true,
		"REDIS_KEY_PREFIX": false, "REFERENCE_METADATA_KEY": false, "STRIPE_API_KEY_FILE": false, "resume_token": false, "method": false, "url": false,
	} {
		var out bytes.Buffer
		log := newTestLogger(t, &out, "json")
		log.Info("m", name, "harmless")
		log.Info("m", name, []string{"harmless"})
		log.Info("m", "k", map[string]string{name: "harmless"})
		log.Info("m", slog.Group(name, "x", "harmless"))
		if found := strings.Contains(out.String(), "harmless"); found == concealedValue {
			t.Errorf("%s: concealed is to be %v: %s", name, concealedValue, out.String())
		}
	}
}

func TestOrdinaryValuesKeepTheirType(t *testing.T) {
	type level int
	var out bytes.Buffer
	log := newTestLogger(t, &out, "json")
	var none *failure
	log.Info("m", "n", 7, "b", true, "d", time.Second, "nil", nil, "typed", level(3), "f", float32(1.5), "u", uint8(9),
		"secret_index", 1, "password", "", "t", time.Unix(0, 0).UTC(), "e", error(none))
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"level": "INFO", "msg": "m", "n": 7.0, "b": true, "d_ms": 1000.0, "nil": nil, "typed": 3.0, "f": 1.5, "u": 9.0,
		"secret_index": 1.0, "password": "", "t": "1970-01-01T00:00:00Z", "e": "<nil>",
	} {
		if got[key] != want {
			t.Errorf("%s = %v, want %v", key, got[key], want)
		}
	}
}

func TestLevelsAndFormats(t *testing.T) {
	for i, level := range []string{"debug", "info", "warn", "error"} {
		var out bytes.Buffer
		log, err := NewLogger(&out, level, "text")
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("m")
		log.Info("m")
		log.Warn("m")
		log.Error("m")
		if got := strings.Count(out.String(), "\n"); got != 4-i {
			t.Errorf("%s: %d lines", level, got)
		}
	}
	if _, err := NewLogger(&bytes.Buffer{}, "loud", "json"); err == nil || !strings.Contains(err.Error(), "use debug") {
		t.Errorf("level: %v", err)
	}
	if _, err := NewLogger(&bytes.Buffer{}, "info", "xml"); err == nil || !strings.Contains(err.Error(), "use json") {
		t.Errorf("format: %v", err)
	}
}

func TestMapsAreBounded(t *testing.T) {
	great := map[string]int{}
	for i := range 1000 {
		great[fmt.Sprint(i)] = i
	}
	var out bytes.Buffer
	newTestLogger(t, &out, "json").Info("m", "k", great)
	if !strings.Contains(out.String(), `"more":968`) || len(out.String()) > 1000 {
		t.Errorf("got %s", out.String())
	}
}

func FuzzNoSecretLeaves(f *testing.F) {
	f.Add("before ", " after")
	f.Add("\n\"", "\\n@/")
	f.Add("redis://", "@x")
	f.Add("/verify/", "_secret_")
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.Contains(before+after, "planted") || strings.Contains(before+after, "_test_") {
			return
		}
		for _, secret := range []string{"sk_test_planted0", "whsec_planted0", "vs_1_secret_planted0", literalPassword, "https://verify.stripe.com/start/planted"} {
			var out bytes.Buffer
			newTestLogger(t, &out, "json").Info(before+secret+after, "k", errors.New(before+secret+after))
			if strings.Contains(out.String(), "planted") || !json.Valid(out.Bytes()) {
				t.Fatalf("%q: %s", before+secret+after, out.String())
			}
		}
	})
}

// Every duration names its unit, wherever it stands in a record and in both formats.
func TestDurationsNameTheirUnit(t *testing.T) {
	for format, want := range map[string]string{
		"json": `"took_ms":1500,"after_ms":0.25,"g":{"pause_ms":100,"map":{"wait_ms":2000}},"limit_ms":3}`,
		"text": "took_ms=1500 after_ms=0.25 g.pause_ms=100 g.map.wait_ms=2000 limit_ms=3",
	} {
		var out bytes.Buffer
		newTestLogger(t, &out, format).With("took", 1500*time.Millisecond).Info("m", "after", 250*time.Microsecond,
			slog.Group("g", "pause", 100*time.Millisecond, "map", map[string]any{"wait": 2 * time.Second}), "limit_ms", 3*time.Millisecond)
		if got := strings.TrimSpace(out.String()); !strings.HasSuffix(got, want) {
			t.Errorf("%s: got %s, want %s at its end", format, got, want)
		}
	}
}
