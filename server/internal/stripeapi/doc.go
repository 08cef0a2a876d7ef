// Package stripeapi is the adapter to Stripe's API. It reads sessions, finds them by reference, lists events, creates the
// successor of a closed session, and registers webhook endpoints. It keeps all requests within a rate, a daily budget
// and a deadline.
//
// It uses stripe-go for requests and errors. It switches off stripe-go's retries, which sleep through deadlines, its
// telemetry, and its logger, which prints bodies. The package stripeevent decodes the answers, as it decodes webhooks.
//
// The package decides nothing about sessions and stores nothing. Links go to the caller alone. Stripe's messages, which
// can quote the request, do not leave this package.
//
// A request takes these steps: the breaker (breaker.go) refuses a lookup while Stripe fails; the daily budget (budget.go)
// refuses a read at once or counts it; package shares gives it a slot of the rate; the transport (transport.go) sends it; and the answer becomes a value or one of verification's errors
// (faults.go).
package stripeapi
