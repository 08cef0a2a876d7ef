// Package stripesim is a simulated Stripe Identity: the VerificationSession part of Stripe's API with its list of events and its
// webhook endpoints, a hosted page on which a person chooses the outcome of the check, and signed webhooks. The API and the webhooks
// can have faults.
//
// It makes it possible to run and test the service on one machine against something that keeps state as Stripe does. It follows
// Stripe's documentation and measurements, also where they are awkward. It is hard on consumers on purpose: its events contain url
// and client_secret, can come out of order, and are indented JSON that changes if it is encoded again.
//
// It knows nothing of the service: it imports no other package of this project. It is not secure enough for an open network: bind it
// to loopback.
package stripesim
