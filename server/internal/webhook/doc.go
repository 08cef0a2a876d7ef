// Package webhook receives Stripe's webhooks: it bounds the body, checks the signature, has the event decoded and applied, and
// answers. It answers 2xx only if the event is kept or does not concern this service. Stripe sends an event again after any other
// answer.
//
// It does not know Redis, gRPC or the rules about events. Its log lines contain no bodies, references or reasons, and its answers
// contain no errors.
package webhook
