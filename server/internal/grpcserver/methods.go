package grpcserver

import (
	"strings"
	"time"

	"google.golang.org/grpc"

	"example.com/verification-status/server/internal/shares"
)

// method has what is known of a method before it is called.
type method struct {
	full   string // "/package.Service/Method"
	stream bool
	// builtIn: of health or reflection, which have no limit and no request id.
	builtIn  bool
	deadline time.Duration // for unary calls without one
	slots    *shares.Pot   // for unary calls under way; nil: any number
	meter    MethodMeter
}

// unknownMethod stands for all methods that are not registered: a name that a caller makes up must not become a label.
const unknownMethod = "other"

// methodsOf returns the registered methods by full name.
func methodsOf(registered map[string]grpc.ServiceInfo, config Config) map[string]*method {
	methods := make(map[string]*method)
	for service, info := range registered {
		for _, m := range info.Methods {
			name := service + "/" + m.Name
			known := &method{
				full: "/" + name, stream: m.IsClientStream || m.IsServerStream, builtIn: strings.HasPrefix(service, "grpc."),
				deadline: config.UnaryDeadline, meter: config.Meter.Method(name),
			}
			if limit, ok := config.MethodDeadlines[known.full]; ok {
				known.deadline = limit
			}
			if !known.builtIn && !known.stream {
				known.slots = newSlots(config)
			}
			methods[known.full] = known
		}
	}
	return methods
}
