// Package golive checks whether an installation is ready for real people: the webhook endpoint at Stripe, the API key and its
// permissions, the mode, the accounts, the signing secrets, the clock, Redis, and what the endpoint costs in reads. It prints one line
// for each check, and a list of what only a person can check.
//
// It changes nothing at Stripe. It knows Stripe's API and the settings, and no part of a running server.
package golive
