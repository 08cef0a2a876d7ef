// Package endpoints registers the webhook endpoint at Stripe, lists the endpoints that Stripe has, checks whether the events of one
// reach the server, and judges once a day whether the server's own endpoint still sends what it needs. It reads both lists of Stripe:
// the webhook endpoints of API v1 and the event destinations of API v2. It knows Stripe's API only, and neither a store nor a running
// server.
package endpoints
