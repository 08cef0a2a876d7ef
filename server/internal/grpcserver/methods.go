package grpcserver

import (
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// method is what is known of a method before anybody calls it.
type method struct {
	full   string // "/package.Service/Method"
	stream bool
	// grpcs: health or reflection, which are neither counted against a limit nor given a request id.
	grpcs    bool
	deadline time.Duration // for unary calls without one
	limit    int64         // of unary calls under way; 0: any number
	underWay atomic.Int64
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
				known.limit = int64(config.MaxInFlight)
			}
			methods[known.full] = known
		}
	}
	return methods
}

// take takes a place for a unary call; false: as many are under way as may be.
func (m *method) take() bool {
	for m.limit > 0 {
		n := m.underWay.Load()
		if n >= m.limit {
			return false
		}
		if m.underWay.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return true
}

// leave gives it back.
func (m *method) leave() {
	if m.limit > 0 {
		m.underWay.Add(-1)
	}
}
