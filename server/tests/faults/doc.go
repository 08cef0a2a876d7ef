// Package faults breaks a service of three replicas at random, with its Redis and Stripe's API, while simulated people live
// their sessions. Stripe sends each event as a snapshot, as a thin event or as both, at random; -faults.style changes that. Then the
// checker says whether what clients saw keeps the guarantees. The tests need the build tag faults.
// The short form has 40 faults and takes two minutes; flags make it the long form:
//
//	go test -race -count=1 -tags=faults ./server/tests/faults
//	go test -count=1 -tags=faults -v -timeout=2h ./server/tests/faults -faults.count=500 -faults.sessions=20000
package faults
