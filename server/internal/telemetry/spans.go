package telemetry

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// The attributes of spans, beside those of gRPC itself. None of them is personal or secret. An error is one word, never its text.
const (
	attrSession   = attribute.Key("verification.session_id")
	attrRevision  = attribute.Key("verification.revision")
	attrEvent     = attribute.Key("verification.event_id")
	attrEventType = attribute.Key("verification.event_type")
	attrEffect    = attribute.Key("verification.effect")
	attrResult    = attribute.Key("verification.result")
	attrWatch     = attribute.Key("verification.watch")
)

// contextSize is the size in bytes of a trace's id and a span's id in a feed entry.
const contextSize = len(trace.TraceID{}) + len(trace.SpanID{})

type webhookKey struct{}

// webhookRequest is a request that gets its span when Event is called for it.
type webhookRequest struct {
	began time.Time
	span  trace.Span
}

// Webhook returns a handler that gives a request a span, from its beginning on, if Event is called for it. Other requests from the
// internet get no span, and the trace headers of requests are ignored.
func (t *Traces) Webhook(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := &webhookRequest{began: time.Now()}
		defer func() {
			if request.span != nil {
				request.span.End()
			}
		}()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), webhookKey{}, request)))
	})
}

// Event begins the span in which an event is applied. end ends it with the effect of the event.
func (t *Traces) Event(ctx context.Context, sessionID, eventID, eventType string) (_ context.Context, end func(effect string, err error)) {
	if t == nil {
		return ctx, func(string, error) {}
	}
	if request, ok := ctx.Value(webhookKey{}).(*webhookRequest); ok && request.span == nil {
		ctx, request.span = t.tracer.Start(ctx, "webhook", trace.WithNewRoot(), trace.WithTimestamp(request.began), trace.WithSpanKind(trace.SpanKindServer))
	}
	ctx, span := t.tracer.Start(ctx, "apply event", trace.WithAttributes(attrSession.String(sessionID), attrEvent.String(eventID), attrEventType.String(eventType)))
	return ctx, func(effect string, err error) {
		if err != nil {
			span.SetStatus(codes.Error, "the event was not kept")
		} else {
			span.SetAttributes(attrEffect.String(effect))
		}
		span.End()
	}
}

// Commit begins the span of an update of a session, but only within another span: updates that no event and no call made are not
// traced. end ends it with the session's revision and the result.
func (t *Traces) Commit(ctx context.Context, sessionID string) (_ context.Context, end func(revision int32, result string, failed bool)) {
	if !t.within(ctx) {
		return ctx, func(int32, string, bool) {}
	}
	ctx, span := t.tracer.Start(ctx, "commit", trace.WithAttributes(attrSession.String(sessionID)))
	return ctx, func(revision int32, result string, failed bool) {
		span.SetAttributes(attrResult.String(result))
		if failed {
			span.SetStatus(codes.Error, result)
		} else {
			span.SetAttributes(attrRevision.Int(int(revision)))
		}
		span.End()
	}
}

// StripeCall begins the span of a call of Stripe's API, but only within another span.
func (t *Traces) StripeCall(ctx context.Context, operation string) (_ context.Context, end func(outcome string)) {
	if !t.within(ctx) {
		return ctx, func(string) {}
	}
	ctx, span := t.tracer.Start(ctx, "stripe "+operation, trace.WithSpanKind(trace.SpanKindClient))
	return ctx, func(outcome string) {
		span.SetAttributes(attrResult.String(outcome))
		span.End()
	}
}

// within reports whether ctx has a span that is sampled.
func (t *Traces) within(ctx context.Context) bool {
	return t != nil && trace.SpanContextFromContext(ctx).IsSampled()
}

// Context returns the ids of the trace and the span of ctx, 24 bytes, for a feed entry, so that the delivery of the change can join
// the trace. It returns "" if the span is not sampled.
func (t *Traces) Context(ctx context.Context) string {
	if !t.within(ctx) {
		return ""
	}
	made := trace.SpanContextFromContext(ctx)
	traceID, spanID := made.TraceID(), made.SpanID()
	return string(append(traceID[:], spanID[:]...))
}

// Keep stores the Context of a change for its delivery. It ignores a text of another size.
func (t *Traces) Keep(sessionID string, revision int32, text string) {
	if t == nil || len(text) != contextSize {
		return
	}
	size := len(trace.TraceID{})
	t.changes.Add(change{sessionID, revision}, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID([]byte(text[:size])), SpanID: trace.SpanID([]byte(text[size:])),
		TraceFlags: trace.FlagsSampled, Remote: true,
	}))
}

// Delivery begins the span of a change that is sent on a watch, in the trace that made the change, if Keep has stored it. The span
// is linked to the caller's span, if there is one. sent ends it.
func (t *Traces) Delivery(ctx context.Context, watch, sessionID string, revision int32) (sent func(error)) {
	if t == nil {
		return func(error) {}
	}
	made, found := t.changes.Get(change{sessionID, revision})
	if !found {
		return func(error) {}
	}
	options := []trace.SpanStartOption{trace.WithAttributes(attrSession.String(sessionID), attrRevision.Int(int(revision)), attrWatch.String(watch))}
	if caller := trace.SpanContextFromContext(ctx); caller.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: caller}))
	}
	_, span := t.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, made), "deliver change", options...)
	return func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "the caller has gone")
		}
		span.End()
	}
}
