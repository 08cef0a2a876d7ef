package telemetry

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// cleared removes all variables of OpenTelemetry but these, given as NAME=value.
func cleared(t *testing.T, variables ...string) {
	t.Helper()
	for _, name := range []string{
		"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_RESOURCE_ATTRIBUTES",
		"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
		"OTEL_EXPORTER_OTLP_INSECURE", "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
	} {
		t.Setenv(name, "")
	}
	for _, variable := range variables {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
}

func TestTraceVariables(t *testing.T) {
	const at = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9"
	for _, test := range []struct {
		name      string
		variables []string
		on        bool
		wrong     string // what the error names
	}{
		{"none", nil, false, ""},
		{"endpoint", []string{at}, true, ""},
		{"endpoint for traces alone", []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://collector:4317/x", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, true, ""},
		{"disabled", []string{at, "OTEL_SDK_DISABLED=TRUE"}, false, ""},
		{"another exporter", []string{at, "OTEL_TRACES_EXPORTER=none"}, false, ""},
		{"ratio", []string{at, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01"}, true, ""},
		{"an argument without a use", []string{at, "OTEL_TRACES_SAMPLER=always_on", "OTEL_TRACES_SAMPLER_ARG=x"}, true, ""},
		{"resource", []string{at, "OTEL_RESOURCE_ATTRIBUTES=a=b"}, true, ""},
		{"no URL", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317"}, false, "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{"password in the URL", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://me:planted@collector"}, false, "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{"protocol", []string{at, "OTEL_EXPORTER_OTLP_PROTOCOL=http/json"}, false, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{"headers", []string{at, "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20planted, x-team=identity,"}, true, ""},
		{"a header without a name", []string{at, "OTEL_EXPORTER_OTLP_HEADERS==planted"}, false, "OTEL_EXPORTER_OTLP_HEADERS"},
		{"a header without a value", []string{at, "OTEL_EXPORTER_OTLP_HEADERS=planted"}, false, "OTEL_EXPORTER_OTLP_HEADERS"},
		{"a header that cannot be read", []string{at, "OTEL_EXPORTER_OTLP_HEADERS=a=planted%zz"}, false, "OTEL_EXPORTER_OTLP_HEADERS"},
		{"sampler", []string{at, "OTEL_TRACES_SAMPLER=jaeger_remote"}, false, "OTEL_TRACES_SAMPLER "},
		{"ratio too high", []string{at, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=1.5"}, false, "OTEL_TRACES_SAMPLER_ARG"},
		{"no ratio", []string{at, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=NaN"}, false, "OTEL_TRACES_SAMPLER_ARG"},
		{"bad resource", []string{at, "OTEL_RESOURCE_ATTRIBUTES=nothing"}, false, "OTEL_RESOURCE_ATTRIBUTES"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cleared(t, test.variables...)
			traces, err := NewTraces(t.Context(), slog.New(slog.DiscardHandler))
			t.Cleanup(func() {
				if err := traces.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
					t.Error(err)
				}
			})
			if (traces != nil) != test.on || (err != nil) != (test.wrong != "") {
				t.Fatalf("traces %v, error %v", traces != nil, err)
			}
			if err != nil && (!strings.Contains(err.Error(), test.wrong) || strings.Contains(err.Error(), "planted")) {
				t.Errorf("error %v", err)
			}
			if (traces.Provider() != nil) != test.on {
				t.Error("the provider is not as it should be")
			}
		})
	}
}

func TestTraceSecrets(t *testing.T) {
	cleared(t, "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20planted-token, x-team=identity ,planted-without-a-name")
	if got, want := TraceSecrets(), []string{"Bearer%20planted-token", "Bearer planted-token", "planted-token", "identity", "planted-without-a-name"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	cleared(t)
	if got := TraceSecrets(); len(got) != 0 {
		t.Errorf("got %q from nothing", got)
	}
}

func TestContextsFromElsewhereAreNone(t *testing.T) {
	cleared(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9")
	traces, err := NewTraces(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer traces.Shutdown(t.Context())
	for _, text := range []string{"", "short", strings.Repeat("x", contextSize-1), strings.Repeat("x", contextSize+1)} {
		traces.Keep("vs_1", 1, text)
	}
	if traces.changes.Len() != 0 {
		t.Error("the trace is kept")
	}
	for n := range maxChanges + 100 {
		traces.Keep("vs_1", int32(n), strings.Repeat("x", contextSize))
	}
	if traces.changes.Len() != maxChanges {
		t.Errorf("%d traces are kept", traces.changes.Len())
	}
}

// There is a warning about a token that the network can read, whichever variable makes the connection plain.
func TestHeadersInPlainTextAreWarnedAbout(t *testing.T) {
	const token = "OTEL_EXPORTER_OTLP_HEADERS=authorization=planted"
	at := func(endpoint string) string { return "OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint }
	for _, test := range []struct {
		name      string
		variables []string
		want      bool
	}{
		{"http", []string{at("http://192.0.2.1:4318"), token}, true},
		{"http by name", []string{at("http://collector:4318"), token}, true},
		{"grpc", []string{at("http://192.0.2.1:4317"), token, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, true},
		{"for traces alone", []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://192.0.2.1", "OTEL_EXPORTER_OTLP_TRACES_HEADERS=a=planted"}, true},
		{"https made insecure", []string{at("https://192.0.2.1"), token, "OTEL_EXPORTER_OTLP_INSECURE=True"}, true},
		{"http made secure", []string{at("http://192.0.2.1"), token, "OTEL_EXPORTER_OTLP_INSECURE=false"}, false},
		{"https", []string{at("https://192.0.2.1"), token}, false},
		{"no headers", []string{at("http://192.0.2.1")}, false},
		{"loopback", []string{at("http://127.0.0.1:4318"), token}, false},
		{"loopback by name", []string{at("http://localhost:4318"), token}, false},
		{"loopback of IPv6", []string{at("http://[::1]:4318"), token}, false},
		{"off", []string{at("http://192.0.2.1"), token, "OTEL_SDK_DISABLED=true"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cleared(t, test.variables...)
			got := TraceWarnings()
			if (len(got) == 1) != test.want || strings.Contains(strings.Join(got, ""), "planted") {
				t.Errorf("got %q, want a warning: %v", got, test.want)
			}
		})
	}
}
