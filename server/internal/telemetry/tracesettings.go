package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
)

// CheckTraces returns an error that names every wrong variable of OpenTelemetry, one line each. For most of them, the SDK itself
// would log a message and use another value.
func CheckTraces(ctx context.Context) error {
	if tracesOff() {
		return nil
	}
	_, err := describeProcess(ctx)
	return errors.Join(checkEndpoint(), checkProtocol(), checkHeaders(), checkSampler(), err)
}

func tracesOff() bool {
	return strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" || endpoint() == ""
}

// setting returns a variable. Its form for traces alone comes first.
func setting(name string) string {
	return cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_"+name), os.Getenv("OTEL_EXPORTER_OTLP_"+name))
}

func endpoint() string { return setting("ENDPOINT") }

func checkEndpoint() error {
	target, err := url.Parse(endpoint())
	if err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" || target.User != nil {
		return errors.New("OTEL_EXPORTER_OTLP_ENDPOINT must be like http://127.0.0.1:4318, without user and password")
	}
	return nil
}

func checkProtocol() error {
	switch setting("PROTOCOL") {
	case "", "http/protobuf", "grpc":
		return nil
	}
	return errors.New("OTEL_EXPORTER_OTLP_PROTOCOL must be grpc or http/protobuf, the default")
}

func checkHeaders() error {
	for header := range strings.SplitSeq(setting("HEADERS"), ",") {
		name, value, found := strings.Cut(header, "=")
		if _, err := url.PathUnescape(value); strings.TrimSpace(header) != "" && (!found || strings.TrimSpace(name) == "" || err != nil) {
			return errors.New("OTEL_EXPORTER_OTLP_HEADERS must be like authorization=Bearer%20TOKEN, several separated by commas")
		}
	}
	return nil
}

// TraceWarnings returns a sentence if headers, which can be a collector's tokens, go to another machine in plain text.
func TraceWarnings() []string {
	target, err := url.Parse(endpoint())
	if tracesOff() || err != nil || setting("HEADERS") == "" || isLoopback(target.Hostname()) {
		return nil
	}
	// This variable overrides the scheme, also https://.
	insecure := strings.TrimSpace(setting("INSECURE"))
	if plain := strings.EqualFold(insecure, "true") || insecure == "" && target.Scheme == "http"; !plain {
		return nil
	}
	return []string{"OTEL_EXPORTER_OTLP_HEADERS go to another machine in plain text, so that anyone on the network can read the collector's token: " +
		"use https:// in OTEL_EXPORTER_OTLP_ENDPOINT, or make sure that a mesh or a tunnel encrypts"}
}

// isLoopback reports whether a host is this machine. The only name that counts is localhost: another name can have any address.
func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
}

// samplers are the standard samplers that the SDK knows. true: the argument is a ratio.
var samplers = map[string]bool{
	"": false, "always_on": false, "always_off": false, "traceidratio": true,
	"parentbased_always_on": false, "parentbased_always_off": false, "parentbased_traceidratio": true,
}

// checkSampler refuses the values for which the SDK would sample everything.
func checkSampler() error {
	name, argument := strings.ToLower(strings.TrimSpace(os.Getenv("OTEL_TRACES_SAMPLER"))), strings.TrimSpace(os.Getenv("OTEL_TRACES_SAMPLER_ARG"))
	takesRatio, known := samplers[name]
	if !known {
		return errors.New("OTEL_TRACES_SAMPLER must be always_on, always_off or traceidratio, or one of them after parentbased_")
	}
	if ratio, err := strconv.ParseFloat(argument, 64); takesRatio && argument != "" && (err != nil || !(ratio >= 0 && ratio <= 1)) {
		return errors.New("OTEL_TRACES_SAMPLER_ARG must be a ratio from 0 to 1, such as 0.01")
	}
	return nil
}

// describeProcess returns the attributes of this process for its spans. Those of the environment come last and win. It has nothing
// of the command line, which can contain secrets.
func describeProcess(ctx context.Context) (*resource.Resource, error) {
	version, _, _ := build()
	described, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "verification-status"), attribute.String("service.version", version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES must be like deployment.environment=production,team=identity: %w", err)
	}
	return described, nil
}

// TraceSecrets returns the values of the headers for the collector, as they are set and as they are sent. They can be tokens, and
// must not be logged.
func TraceSecrets() []string {
	var secrets []string
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} {
		for header := range strings.SplitSeq(os.Getenv(name), ",") {
			_, value, found := strings.Cut(header, "=")
			if !found {
				value = header
			}
			value = strings.TrimSpace(value)
			secrets = append(secrets, value)
			if sent, err := url.PathUnescape(value); err == nil && sent != value {
				secrets = append(secrets, sent)
				// The scheme before a token is not secret.
				if _, token, found := strings.Cut(sent, " "); found {
					secrets = append(secrets, token)
				}
			}
		}
	}
	return slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
}
