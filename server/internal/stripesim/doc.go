// Package stripesim is a simulated Stripe Identity: the VerificationSession part of Stripe's API with its events, its webhook endpoints
// and event destinations, a hosted page on which a person chooses the outcome of the check, and signed webhooks. The API and the webhooks
// can have faults.
//
// It makes it possible to run and test the service on one machine against something that keeps state as Stripe does. It follows
// Stripe's documentation and measurements, also where they are awkward. It is hard on consumers on purpose: its events contain url
// and client_secret, can come out of order, and are indented JSON that changes if it is encoded again. It refuses each parameter that
// Stripe's reference does not list.
//
// Stripe's documentation leaves open how thin events and destinations behave in some points. Each of these points is a setting:
// Endpoint.NamesSnapshot, Faults.NoUnsentSnapshots, Config.V1ShowsDestinations.
//
// It knows nothing of the service: it imports no other package of this project. It is not secure enough for an open network: bind it
// to loopback.
package stripesim
