// Package trigger makes events as Stripe sends them, signs them and sends them to any URL, so that a person can try an endpoint without
// Stripe. It knows the form of Stripe's events, and neither Stripe's API nor this service's own endpoint.
package trigger
