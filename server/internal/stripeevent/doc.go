// Package stripeevent decodes the bytes of a Stripe event, or of a verification session from Stripe's API, into the core's values. It
// is the only decoder, so that a webhook and a read always understand the same bytes in the same way.
//
// An event comes in one of two payload styles. A snapshot event holds the session as of the event. A thin event names the session and
// holds no state; its type begins with "v1.". The type decides first: a body that is not about an Identity session is never malformed.
//
// It decodes only what the core needs. It never reads url, client_secret and verified_outputs, so that they cannot leak. It does not
// know HTTP or signatures, and does not use Stripe's library, whose structs reject events of other API versions.
package stripeevent
