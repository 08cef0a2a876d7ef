package main

import "fmt"

// written has the scripts that are written by hand: at least one for each kind of fault.
var written = []struct{ name, text string }{
	// Without faults.
	{"updates", "watch session; change 3; quiet; change"},
	{"by-reference", "watch reference; change 2; newer; change 2"},
	{"all-sessions", "watch all; change 2; newer; change vs_1; quiet; change"},
	{"until-settled", "watch session settled; change; settle"},
	{"settled-already", "settle; watch session settled; again session settled"},
	{"resume-from", "watch session; change; stop session; change 3; again session; change"},
	{"resume-from-after-a-failure", "watch session; change; stop session; refuse NOT_FOUND; change 2; again session; again session; change"},
	{"resume-all", "watch all; change; stop all; change 2; newer; again all; change"},
	{"close", "watch session; watch all; change; close"},
	{"redacted", "watch session; change; redact"},

	// Cuts of the connection.
	{"cut-before-a-response", "watch session; cut before; change"},
	{"cut-in-a-response", "watch session; cut in; change"},
	{"cut-after-a-response", "watch session; cut after; change"},
	{"cuts-among-changes", "watch session; cut in 2/3; cut after 1/4; cut before 3/3; cut in 1/2; change"},
	{"cuts-of-all", "watch all; cut in 2/3; cut after 1/4; newer; cut before 3/3; change vs_1"},
	{"cuts-of-three-watches", "watch session; watch reference; watch all; cut in 2/3; cut after; cut before 3/5; change"},
	{"outage", "watch session; away; change 3; back; change"},
	{"outage-at-the-start", "away; watch session; change 2; back; change"},
	{"redacted-while-away", "watch session; change; away; change 2; redact; back"},
	{"replaced-while-away", "watch reference; change; away; change 2; newer; change; back; change"},
	{"reference-erased", "watch reference; change; redact; end INTERNAL"},

	// Two addresses.
	{"two-addresses", "connect two; watch session; die 1; change 2; revive 1; die 2; change 2; revive 2; change"},
	{"one-is-down-at-the-start", "connect two; die 1; watch session; change; revive 1; die 2; change"},

	{"not-ready", "connect two; watch session; watch all; unready 1; change; ready 1; unready 2; change"},
	{"many-streams", "crowd 150; watch session; change"},

	// Servers that stop, and errors that end no watch.
	{"drain", "watch session; drain; change; drain; change"},
	{"drain-many", "watch session; watch reference; watch all; drain; change; drain; change 2"},
	{"aborted", "watch session; end ABORTED CONFLICT 100ms; change; end ABORTED CONFLICT 50ms 2/3; change"},
	{"retry-info", "watch session; watch all; end UNAVAILABLE STREAM_EXPIRED 150ms; change; refuse RESOURCE_EXHAUSTED RATE_LIMITED 120ms 2; change"},
	{"streams-limited", "watch session; refuse RESOURCE_EXHAUSTED TOO_MANY_STREAMS 3; change"},
	{"many-refusals", "connect slow; watch session; refuse UNAVAILABLE STORE_UNAVAILABLE 41; change"},
	{"store-away", "watch session; end UNAVAILABLE STORE_UNAVAILABLE 1ms; refuse UNAVAILABLE STORE_UNAVAILABLE 4; change"},
	{"internal", "watch session; end INTERNAL INTERNAL; change; end UNKNOWN; change; end CANCELLED; change; end DEADLINE_EXCEEDED; change; end DATA_LOSS; change"},

	// Silence.
	{"silence", "watch session; change; silence; change"},
	{"dead-connection", "watch session; change; hang; change"},
	{"heartbeats-are-no-updates", "watch session; watch reference; watch all; quiet; change; quiet"},

	// Lost history.
	{"lost", "watch session; change 2; end OUT_OF_RANGE RESUME_TOKEN_EXPIRED; change"},
	{"trimmed-while-away", "watch session; change 2; away; change 3; trim; back; change"},
	{"trimmed-without-a-change", "watch session; change; away; trim; back; change"},
	{"trimmed-by-reference", "watch reference; change; away; newer; change; trim; back; change"},
	{"trimmed-before-resume-from", "watch session; change; stop session; away; change; trim; back; again session; change"},
	{"lost-twice", "watch session; refuse OUT_OF_RANGE RESUME_TOKEN_EXPIRED 2; change; away; trim; back; cut in 1/2"},
	{"lost-to-all", "watch all; change; away; change; trim; back"},

	// Errors that end a watch: only the service's own, or in the very first answer.
	{"unknown-session", "watch session unknown"},
	{"bad-token", "watch session bad-token"},
	{"wrong-credentials", "connect wrong-token; watch session; watch all; status"},
	{"unauthenticated-later", "watch session; change; end UNAUTHENTICATED UNAUTHENTICATED"},
	{"unauthenticated-in-the-next-stream", "watch session; change; refuse UNAUTHENTICATED UNAUTHENTICATED"},
	{"unauthenticated-by-a-proxy", "watch session; change; end UNAUTHENTICATED; change; refuse UNAUTHENTICATED 2; change"},
	{"unauthenticated-by-a-proxy-at-first", "refuse UNAUTHENTICATED; watch session; watch session; change"},
	{"denied", "watch session; watch all; change; end PERMISSION_DENIED PERMISSION_DENIED"},
	{"gone", "watch session; change; end NOT_FOUND SESSION_NOT_FOUND 1/3"},
	{"gone-says-a-proxy", "watch session; end NOT_FOUND 1/3; refuse NOT_FOUND 2; change"},
	{"precondition", "watch session; end FAILED_PRECONDITION 1/2; refuse INVALID_ARGUMENT; change; refuse FAILED_PRECONDITION STRIPE_NOT_CONFIGURED"},

	{"foreign-errors", "watch session; watch all; change; end UNAUTHENTICATED UNAUTHENTICATED foreign; change; refuse NOT_FOUND SESSION_NOT_FOUND foreign 2; change"},
	{"foreign-error-at-first", "refuse NOT_FOUND SESSION_NOT_FOUND foreign; watch session; watch session; change"},
	{"foreign-errors-of-calls", "fail FAILED_PRECONDITION RETRY_DENIED foreign; retry; fail NOT_FOUND SESSION_NOT_FOUND foreign; status; status"},
	{"waits-are-shown", "watch session; watch all; change; end PERMISSION_DENIED PERMISSION_DENIED 1500ms"},
	{"waits-of-calls-are-shown", "fail RESOURCE_EXHAUSTED RATE_LIMITED 2s; status; fail UNAVAILABLE STRIPE_UNAVAILABLE 3s; retry; status"},

	// Proxies that answer in HTML.
	{"http-404", "watch session; http 404; change; http 404 3; change"},
	{"http-404-at-first", "http 404 2; watch session; watch all; watch session; change"},
	{"http-503", "watch session; http 503; change; http 503 3; change"},
	{"http-503-at-first", "http 503 3; watch session; change"},
	{"http-200-html", "watch session; http 200; change; http 200 2; change"},
	{"http-200-at-first", "http 200 2; watch session; change"},
	{"http-401-403", "watch session; http 401; change; http 403; change"},
	{"http-429-502", "watch session; watch all; http 429; change; http 502 2; change"},
	{"http-two-addresses", "connect two; watch session; http 503 3; change; http 404 2; change"},

	// Slow readers.
	{"slow-reader", "watch session; pause session; change 5; resume session; change"},
	{"slow-reader-is-no-silence", "watch session; pause session; change; resume session; quiet"},
	{"slow-reader-and-cuts", "watch session; pause session; change 3; cut in 2/3; change 2; resume session; change"},
	{"slow-reader-and-errors", "watch session; pause session; change 2; end INTERNAL 1/2; resume session; change"},
	{"one-slow-reader-of-two", "watch session; watch all; pause all; change 4; cut before 2/3; resume all; change"},
	{"flow-control", "watch session; pause session; flood 1600; status; resume session; change"},

	// A server that sends a revision twice.
	{"repeat", "watch session; watch reference; repeat; change; repeat; change"},

	// Calls.
	{"status", "status; change 2; status; settle; status"},
	{"status-tried-again", "fail UNAVAILABLE STORE_UNAVAILABLE 2; status; change; status"},
	{"status-given-up", "fail UNAVAILABLE STORE_UNAVAILABLE 4; status; status"},
	{"status-not-tried-again", "fail INTERNAL INTERNAL; status; fail UNAUTHENTICATED; status; status"},
	{"status-behind-a-proxy", "http 503 2; status; http 404; status; status"},
	{"retry", "retry; change; retry; change; retry"},
	{"retry-is-not-repeated", "fail UNAVAILABLE STRIPE_UNAVAILABLE; retry; retry"},

	// Consumers.
	{"consumer", "watch consumer; change 3; newer; change 2; change vs_1"},
	{"slow-consumer", "watch consumer; pause consumer; change 3; resume consumer; change"},
	{"slow-consumer-and-cuts", "watch consumer; change; pause consumer; change 2; cut in 1/2; change; resume consumer; change"},
	{"consumer-and-cuts", "watch consumer; cut in 2/3; cut after 1/4; cut before; change"},
	{"consumer-and-errors", "watch consumer; end INTERNAL 1/3; drain; change; http 503 2; change; refuse UNAVAILABLE STORE_UNAVAILABLE 2; change"},
	{"consumer-and-outage", "watch consumer; change; away; change 3; back; change"},
	{"consumer-trimmed", "watch consumer; change 2; away; change 2; trim; back; change"},
	{"consumer-busy", "watch consumer; change; refuse ABORTED CONSUMER_BUSY 1ms 2; change"},
	{"consumer-deleted", "watch consumer; change; forget"},
	{"consumer-expired", "refuse OUT_OF_RANGE CONSUMER_EXPIRED; watch consumer"},
	{"consumer-silence", "watch consumer; change; silence; change"},
}

// writtenScripts returns the scripts by hand, in order.
func writtenScripts() []script {
	var all []script
	for _, w := range written {
		s, err := parse(w.name, w.text)
		if err != nil {
			panic(fmt.Sprintf("written.go: %v", err)) // TestWrittenScripts finds it first
		}
		all = append(all, s)
	}
	return all
}
