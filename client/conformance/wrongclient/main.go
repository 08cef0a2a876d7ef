// Command wrongclient is a small client of its own with one flaw, so that the conformance kit can show that it finds it. With
// the flaw "none" it passes all scripts but "not-ready": it does not ask the health service.
//
//	go run ./client/conformance -- go run ./client/conformance/wrongclient -flaw forgets-the-token
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"

	"example.com/verification-status/client/conformance/program"
)

// The flaws.
const (
	none             = "none"
	forgetsToken     = "forgets-the-token"      // a watch resumes with the current status
	hidesLoss        = "hides-lost-history"     // a watch begins again after OUT_OF_RANGE and does not say so
	endsAtLoss       = "ends-at-lost-history"   // OUT_OF_RANGE ends a watch of one subject
	believesProxies  = "believes-proxies"       // a proxy's 404 ends a watch that has begun
	tooStubborn      = "never-gives-up"         // no error ends a watch
	readsAhead       = "reads-ahead"            // a reader that pauses is buffered without bound
	deaf             = "waits-for-ever"         // a silent stream is kept
	beatsAreSilence  = "heartbeats-are-silence" // a stream that has only heartbeats is given up
	hasty            = "ignores-retry-info"     // the wait that the server asks for is not kept
	beatsAreUpdates  = "heartbeats-are-updates" // a heartbeat is an update
	repeatsRetries   = "repeats-retries"        // RetryVerification is called again after an error
	tellsSecrets     = "prints-secrets"         // a printed link shows its secrets
	oneBehind        = "resumes-one-behind"     // a watch resumes after the update before the last one, and drops the repeated one
	oneAddress       = "one-address"            // the second address is never used
	oneConnection    = "one-connection"         // all streams share a connection
	anonymous        = "sends-no-token"         // calls have no bearer token
	leavesStreams    = "leaves-streams-open"    // a watch that ends does not end its stream
	forgetsItsErrors = "ends-without-a-reason"  // the ErrorInfo of an error is not read
	slowBeats        = "asks-for-slow-beats"    // the request asks for a heartbeat of an hour
	trustsAnybody    = "trusts-any-domain"      // the ErrorInfo of another domain is taken for the service's
	inventsWaits     = "invents-waits"          // errors have a RetryAfter that nobody sent
	neverCloses      = "never-closes"           // Close ends the watches, and leaves the connections open
	noBackoff        = "tries-without-a-wait"   // an attempt follows a failed one at once
	// Of consumers.
	acknowledgesEarly = "acknowledges-too-early" // a change is acknowledged before its handler is called
	handlesInAQueue   = "handles-in-a-queue"     // a change is acknowledged when it is in a queue
)

var flaws = []string{
	none, forgetsToken, hidesLoss, endsAtLoss, believesProxies, tooStubborn, readsAhead, deaf, beatsAreSilence, hasty, beatsAreUpdates, repeatsRetries,
	tellsSecrets, oneBehind, oneAddress, oneConnection, anonymous, leavesStreams, forgetsItsErrors,
	slowBeats, trustsAnybody, inventsWaits, neverCloses, noBackoff, acknowledgesEarly, handlesInAQueue,
}

func main() {
	flaw := flag.String("flaw", none, "what the client does wrong: "+strings.Join(flaws, ", "))
	flag.Parse()
	if !slices.Contains(flaws, *flaw) {
		fmt.Fprintf(os.Stderr, "wrongclient: there is no flaw %q: one of %s\n", *flaw, strings.Join(flaws, ", "))
		os.Exit(2)
	}
	p := program.Program{Dial: func(t program.Target) (program.Client, error) { return dial(t, *flaw) }}
	if err := p.Run(os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}
