// Package stripeform checks requests to Stripe's API against the parameters that Stripe's reference lists: the names at every depth,
// the parameters that exclude each other, the headers that a request needs, and the JSON of /v2. stripe-mock takes any name below the
// first level, and it does not know /v2.
//
// The lists are those of the reference of 2026, written down here by hand. So they are a second opinion beside the simulator's. The
// package is for tests alone, and knows nothing of the service. It does not know the answers.
package stripeform
