// Package endpoints registers the webhook endpoint at Stripe, lists the endpoints that Stripe has, and checks whether
// the events of one reach the server. It knows Stripe's API only, and neither a store nor a running server.
package endpoints
