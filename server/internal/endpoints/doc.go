// Package endpoints registers the webhook endpoint at Stripe, lists the endpoints that Stripe has, and checks what keeps
// the events of one from the server. It knows Stripe's API only, and neither a store nor a running server.
package endpoints
