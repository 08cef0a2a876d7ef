package grpcserver

import (
	"context"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// Meter counts calls, as gRPC proposal A66 defines. It is safe for concurrent use.
//
// grpc's own stats/opentelemetry counts the same, and a test compares the two. It makes two sets of attributes for each
// call, hashes them, and wraps every handler: a quarter of the cost of a small call.
type Meter interface {
	// Method returns the meter of a method. It is called once for each registered method ("package.Service/Method"),
	// and for "other", which stands for all others.
	Method(name string) MethodMeter
}

// MethodMeter counts the calls of one method.
type MethodMeter interface {
	Started()
	// Ended is called once after Started, but never for "other". code is canonical, such as DEADLINE_EXCEEDED. received
	// and sent are the sizes of the messages, compressed, in bytes.
	Ended(code string, took time.Duration, received, sent int64)
	// Refused is called before Ended for a call that fails after NoteLimit, with the setting that is the limit.
	Refused(setting string)
}

// noMeter counts nothing.
type noMeter struct{}

func (noMeter) Method(string) MethodMeter                 { return noMeter{} }
func (noMeter) Started()                                  {}
func (noMeter) Ended(string, time.Duration, int64, int64) {}
func (noMeter) Refused(string)                            {}

// observer implements stats.Handler: gRPC reports the events of each call to it.
type observer struct{}

var _ stats.Handler = observer{}

// TagConn implements stats.Handler.
func (observer) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (observer) HandleConn(context.Context, stats.ConnStats) {}

// TagRPC implements stats.Handler.
func (observer) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (observer) HandleRPC(ctx context.Context, event stats.RPCStats) {
	c := callOf(ctx)
	if c == nil {
		return // gRPC did not call begin
	}
	switch event := event.(type) {
	case *stats.InHeader:
		c.method.meter.Started()
		if c.excess {
			c.tooLate() // here, since a tap that refuses a call leaves its timer
		}
	case *stats.InPayload:
		c.arrived()
		c.received.Add(int64(event.CompressedLength))
	case *stats.OutPayload:
		c.sent.Add(int64(event.CompressedLength))
	case *stats.End:
		c.ended()
		if limit := c.limit.Load(); limit != nil && event.Error != nil {
			c.method.meter.Refused(*limit)
		}
		c.method.meter.Ended(canonical(event.Error), event.EndTime.Sub(c.began), c.received.Load(), c.sent.Load())
	}
}

// canonical returns the name of an error's code in gRPC's specification. Go's names differ.
func canonical(err error) string {
	if err == nil {
		return "OK"
	}
	return code.Code(status.Code(err)).String()
}
