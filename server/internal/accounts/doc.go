// Package accounts keeps what this service has learned about connected accounts: which of them Stripe names by context, and
// which of them refused a request. All replicas share it through the marks of the store.
//
// A refused account rests for a day: nothing is requested for it. Then one replica sends one request. If Stripe refuses
// it again, the account rests for another day. Another API key ends the rest at once, because the refusal says nothing
// about the new key. Of two answers or events, the one about the later second counts, whichever comes first.
//
// The package sends no request and does not know Stripe's API. What it has learned can be lost: then a request is refused
// once more, or an event names the context again.
package accounts
