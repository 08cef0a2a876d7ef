package verification

import "testing"

// permute calls visit with every order of the events. It reuses the slice.
func permute(events []Event, visit func([]Event)) {
	var place func(int)
	place = func(n int) {
		if n == len(events) {
			visit(events)
			return
		}
		for i := n; i < len(events); i++ {
			events[n], events[i] = events[i], events[n]
			place(n + 1)
			events[n], events[i] = events[i], events[n]
		}
	}
	place(0)
}

// repeats calls visit with an order in which events come again: each one at each later position, all of them in the
// same order, and all of them backwards.
func repeats(order []Event, visit func([]Event)) {
	visit(order)
	for i := range order {
		for at := i + 1; at <= len(order); at++ {
			with := append([]Event{}, order[:at]...)
			with = append(with, order[i])
			visit(append(with, order[at:]...))
		}
	}
	twice := append(append([]Event{}, order...), order...)
	visit(twice)
	for i := range order {
		twice[len(order)+i] = order[len(order)-1-i]
	}
	visit(twice)
}

// TestG1_AllOrdersOfSixEvents tries every order of whole lives in distinct seconds, with repeats.
func TestG1_AllOrdersOfSixEvents(t *testing.T) {
	if testing.Short() {
		t.Skip("it tries every order of seven lives; without -short: go test -count=1 ./server/internal/verification")
	}
	start := []Event{created("c", 1), processing("p", 5, ""), failed("f", 7, "vr_1", expired), processing("q", 20, "vr_1")}
	withRedaction := canceled("x", 50, "vr_1")
	withRedaction.Object.Redaction = RedactionProcessing
	for name, end := range map[string][]Event{
		"verified, redacted":             {verified("v", 22, "vr_2"), redacted("r", 90, StatusVerified, RedactionRedacted)},
		"verified, overridden":           {verified("v", 22, "vr_2"), failed("o", 60, "vr_2", mismatch)},
		"failed again, canceled":         {failed("g", 22, "vr_2", mismatch), canceled("x", 50, "vr_2")},
		"failed again, passed in review": {failed("g", 22, "vr_2", mismatch), verified("v", 50, "vr_2")},
		"canceled by redaction":          {failed("g", 22, "", abandoned), withRedaction},
		"verified twice":                 {verified("v", 22, "vr_2"), verified("w", 23, "vr_3")},
		"an unknown status":              {event("u", "x", 22, object("reviewing", Error{}, "vr_2")), verified("v", 30, "vr_2")},
	} {
		t.Run(name, func(t *testing.T) {
			life := append(append([]Event{}, start...), end...)
			allEnd(t, life, endOf(after(life...)), true)
		})
	}
}

// TestG1_AllOrdersOfOneSecond: the rules order these events of equal seconds without a read of Stripe.
func TestG1_AllOrdersOfOneSecond(t *testing.T) {
	atOnce := canceled("x", 30, "vr_2")
	atOnce.Object.Redaction = RedactionProcessing
	for name, life := range map[string][]Event{
		"processing and verified": {created("c", 1), processing("p", 5, ""), failed("f", 6, "vr_1", expired), processing("q", 9, "vr_1"), verified("v", 9, "vr_2")},
		"and again in the next":   {created("c", 1), processing("p", 9, "vr_2"), verified("v", 9, "vr_2"), verified("w", 9, "vr_2"), processing("q", 9, "vr_2")},
		"canceled above all":      {created("c", 30), failed("f", 29, "vr_1", expired), canceled("y", 30, "vr_2"), atOnce},
		"redaction of one second": {created("c", 1), processing("q", 9, ""), verified("v", 9, "vr_1"), redacted("r", 9, StatusVerified, RedactionProcessing), redacted("s", 9, StatusVerified, RedactionRedacted)},
	} {
		t.Run(name, func(t *testing.T) { allEnd(t, life, endOf(after(life...)), false) })
	}
}

// allEnd checks that all orders end alike, and that no order leaves the session unresolved unless that is expected on
// the way.
func allEnd(t *testing.T, life []Event, want ended, unresolved bool) {
	t.Helper()
	if want.Status != life[len(life)-1].Object.Status && want.Status != StatusVerified {
		t.Fatalf("the true order ends in %+v", want)
	}
	orders := 0
	permute(append([]Event{}, life...), func(order []Event) {
		repeats(order, func(deliveries []Event) {
			orders++
			got := after(deliveries...)
			if endOf(got) == want && len(got.History) == len(life) && (unresolved || !got.Unresolved) {
				return
			}
			for _, e := range deliveries {
				t.Log(e.ID, e.Second, e.Object.Status)
			}
			t.Fatalf("ended %+v, pending %v\nwant  %+v", endOf(got), got.Unresolved, want)
		})
	})
	t.Logf("%d orders", orders)
}
