package grpcserver

import (
	"strings"
	"time"

	"google.golang.org/grpc"

	"example.com/verification-status/server/internal/shares"
)

// method is what is known of a method before anybody calls it.
type method struct {
	full   string // "/package.Service/Method"
	stream bool
	// grpcs: health or reflection, which are neither counted against a limit nor given a request id.
	grpcs    bool
	deadline time.Duration // for unary calls without one
	places   *shares.Pot   // of unary calls under way; nil: any number
	meter    MethodMeter
}

// unknownMethod stands for whatever callers make up: their names must not become labels.
const unknownMethod = "other"

// methodsOf lists what is registered.
func methodsOf(registered map[string]grpc.ServiceInfo, config Config) map[string]*method {
	methods := make(map[string]*method)
	for service, info := range registered {
		for _, m := range info.Methods {
			name := service + "/" + m.Name
			known := &method{
				full: "/" + name, stream: m.IsClientStream || m.IsServerStream, grpcs: strings.HasPrefix(service, "grpc."),
				deadline: config.UnaryDeadline, meter: config.Meter.Method(name),
			}
			if limit, ok := config.MethodDeadlines[known.full]; ok {
				known.deadline = limit
			}
			if service == serviceName && !known.stream {
				known.places = places(config)
			}
			methods[known.full] = known
		}
	}
	return methods
}
