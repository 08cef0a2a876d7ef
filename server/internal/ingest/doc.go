// Package ingest is the only way into the store for what Stripe says. It applies events; if the order of two events
// is ambiguous, it asks Stripe; and it reads sessions that are not known here from Stripe.
//
// It refuses to know HTTP, gRPC, and how Stripe's API is called. What an event means, verification decides.
package ingest
