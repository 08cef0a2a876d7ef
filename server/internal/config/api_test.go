package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The settings of API are settings of Config: same names and defaults.
func TestAPISettingsAreConfigs(t *testing.T) {
	known := map[string]Setting{}
	for _, s := range Table() {
		known[s.Flag] = s
	}
	for field := range reflect.TypeFor[API]().Fields() {
		s := describe(field)
		want, ok := known[s.Flag]
		if s.Help = want.Help; !ok || s != want {
			t.Errorf("%+v, in Config %+v", s, want)
		}
	}
}

func TestAPILoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("sk_test_planted\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const base = "https://api.stripe.com"
	live, test := true, false
	for name, tc := range map[string]struct {
		api  API
		want []string // parts of the error; none: there is none
		live *bool
	}{
		"a key":               {API{StripeAPIKey: "rk_live_planted", StripeAPIBase: base}, nil, &live},
		"a key in a file":     {API{StripeAPIKeyFile: file, StripeAPIBase: base, Livemode: "FALSE"}, nil, &test},
		"a key of no mode":    {API{StripeAPIKey: "sk_planted", StripeAPIBase: base}, nil, nil},
		"nothing":             {API{StripeAPIBase: base}, []string{"STRIPE_API_KEY is not set"}, nil},
		"no such file":        {API{StripeAPIKeyFile: file + "x", StripeAPIBase: base}, []string{"STRIPE_API_KEY_FILE"}, nil},
		"key and file":        {API{StripeAPIKey: "sk_test_planted", StripeAPIKeyFile: file, StripeAPIBase: base}, []string{"remove one of the two"}, &test},
		"everything is wrong": {API{StripeAPIKey: "pk_test_planted", StripeAPIBase: "http://a.example", Livemode: "perhaps"}, []string{"publishable", "STRIPE_API_BASE", "LIVEMODE"}, nil},
		"another mode":        {API{StripeAPIKey: "sk_test_planted", StripeAPIBase: base, Livemode: "true"}, []string{"key of the other mode"}, &live},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.api.Load()
			if (err == nil) != (len(tc.want) == 0) {
				t.Fatalf("error %v", err)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "planted") {
					t.Errorf("error %v, want %q in it", err, part)
				}
			}
			if got := tc.api.Live(); (got == nil) != (tc.live == nil) || got != nil && *got != *tc.live {
				t.Errorf("live %v", got)
			}
		})
	}
}

func TestCheckAnyURL(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://verification.example.com/webhook": true,
		"http://shop.example.com:8080/hooks?a=b":   true,
		"http://127.0.0.1:4242/webhook":            true,
		"http://[::1]:4242":                        true,
		"ftp://example.com/":                       false,
		"https://user:pass@example.com/":           false,
		"https:///webhook":                         false,
		"https://example.com/#here":                false,
		"/webhook":                                 false,
		"":                                         false,
	} {
		if err := CheckAnyURL(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCheckEndpointURL(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://verification.example.com/webhook": true,
		"https://example.com:8443/webhook?a=b":     true,
		"http://127.0.0.1:4242/webhook":            true,
		"http://localhost/webhook":                 true,
		"http://verification.example.com/webhook":  false,
		"verification.example.com/webhook":         false,
		"https:///webhook":                         false,
		"https://user:pass@example.com/webhook":    false,
		"https://example.com/webhook#here":         false,
		"https://example.com/web hook":             false,
		"ftp://example.com/":                       false,
		"":                                         false,
		"https://example.com/" + strings.Repeat("x", maxEndpointURLBytes): false,
	} {
		if err := CheckEndpointURL(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A URL that Stripe cannot reach must not be registered: its webhooks would fail for days before Stripe says so.
func TestCheckReachable(t *testing.T) {
	for text, reachable := range map[string]bool{
		"https://verification.example.com/webhook": true,
		"https://192.0.2.1/webhook":                true,
		"https://localhost.example.com/webhook":    true,
		"http://127.0.0.1:4242/webhook":            false,
		"http://localhost:4242/webhook":            false,
		"https://localhost/webhook":                false,
		"https://LOCALHOST./webhook":               false,
		"https://app.localhost/webhook":            false,
		"https://[::1]/webhook":                    false,
		"https://[::ffff:127.0.0.1]/webhook":       false,
		"https://0.0.0.0/webhook":                  false,
		"https://10.1.2.3/webhook":                 false,
		"https://192.168.1.2/webhook":              false,
		"https://[::ffff:10.1.2.3]/webhook":        false,
		"https://[fd00::1]/webhook":                false,
		"https://169.254.1.1/webhook":              false,
	} {
		err := (&API{StripeAPIBase: "https://api.stripe.com"}).CheckReachable(text)
		if (err == nil) != reachable || err != nil && !strings.Contains(err.Error(), "stripe listen --forward-to") {
			t.Errorf("%s: %v", text, err)
		}
		if err := (&API{StripeAPIBase: "http://127.0.0.1:12111"}).CheckReachable(text); err != nil {
			t.Errorf("%s, with a simulated Stripe: %v", text, err)
		}
	}
}
