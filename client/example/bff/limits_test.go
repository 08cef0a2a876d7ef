package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// pressFrom presses the button at an address of a browser, and returns the status of the answer.
func (w *pressRig) pressFrom(address string, who person) int {
	return (<-w.pressAt(w.t.Context(), who, address)).StatusCode
}

// newcomer is a person that has just opened the page.
func newcomer() person { return person{id: rand.Text(), issued: time.Now()} }

func anyLink(int) string { return `{"url":"https://verify.stripe.test/1"}` }

// TestThe11thPressOfAPersonMakesNoCall, whatever their address and cookie are. The page knows the problem, and after the wait of
// the answer the button works again.
func TestThe11thPressOfAPersonMakesNoCall(t *testing.T) {
	inBubble(t, anyLink, func(t *testing.T, w *pressRig) {
		w.open()
		who := w.known("vs_1")
		for i := range 10 {
			if status := w.pressFrom(fmt.Sprintf("192.0.2.%d", i+1), who); status != http.StatusOK {
				t.Fatalf("press %d: %d; want 200", i+1, status)
			}
			who.issued = who.issued.Add(time.Second) // as in the new cookie of each answer
		}
		answered := <-w.pressAt(t.Context(), who, "192.0.2.99")
		body, _ := io.ReadAll(answered.Body)
		if answered.StatusCode != http.StatusTooManyRequests || strings.TrimSpace(string(body)) != `{"problem":"BUSY"}` || len(answered.Cookies()) > 0 {
			t.Errorf("press 11: %s %s; want 429 and BUSY", answered.Status, body)
		}
		w.wantCalls(map[string]int{"GetStatus": 10, "RetryVerification": 10})
		after, err := strconv.Atoi(answered.Header.Get("Retry-After"))
		if err != nil || after != 30 {
			t.Fatalf("Retry-After is %q; want 30", answered.Header.Get("Retry-After"))
		}
		time.Sleep(time.Duration(after) * time.Second)
		if status := w.pressFrom("192.0.2.1", who); status != http.StatusOK {
			t.Errorf("press 11 after the wait: %d; want 200", status)
		}
		w.wantCalls(map[string]int{"GetStatus": 11, "RetryVerification": 11})
	})
}

// TestPressesAtTheSameTimeCountAsOne, because they cost as much as one.
func TestPressesAtTheSameTimeCountAsOne(t *testing.T) {
	inBubble(t, anyLink, func(t *testing.T, w *pressRig) {
		who := w.known("vs_1")
		answers := w.pressAll(who)
		w.open()
		for _, answered := range answers {
			w.want(answered, http.StatusOK, `{"url":"https://verify.stripe.test/start/vs_1"}`)
		}
		for i := range 9 {
			if status := w.pressFrom("192.0.2.1", who); status != http.StatusOK {
				t.Errorf("press %d after them: %d; want 200", i+1, status)
			}
		}
	})
}

// TestOneAddressLeavesLinksToOthers: somebody at one address has 20 persons that need a link, and presses for an hour. A person at
// another address is served all the time, and has reads left.
func TestOneAddressLeavesLinksToOthers(t *testing.T) {
	inBubble(t, anyLink, func(t *testing.T, w *pressRig) {
		w.open()
		attackers := make([]person, 20)
		for i := range attackers {
			attackers[i] = w.known(fmt.Sprintf("vs_%d", i))
		}
		victim := w.known("vs_victim")
		links := 0
		for second := 0; second < 3600; second += 10 {
			for i := range 20 {
				if w.pressFrom("192.0.2.1", attackers[i]) == http.StatusOK {
					links++
				}
			}
			if second%600 == 0 {
				if status := w.pressFrom("198.51.100.1", victim); status != http.StatusOK {
					t.Errorf("a person at another address after %d s: %d; want 200", second, status)
				}
			}
			time.Sleep(10 * time.Second)
		}
		const most = 100 + 3600/300 // perAddressDay
		if links < 20 || links > most {
			t.Errorf("the attacker got %d links; want %d at most", links, most)
		}
		w.wantCalls(map[string]int{"GetStatus": links + 6, "RetryVerification": links + 6})
	})
}

// TestSignUpsOfOneAddressAreBounded: others sign up meanwhile. An office of 20 persons behind one address is not refused.
func TestSignUpsOfOneAddressAreBounded(t *testing.T) {
	inBubble(t, anyLink, func(t *testing.T, w *pressRig) {
		w.open()
		made := 0
		for second := range 60 {
			for i := range 90 {
				status := w.pressFrom("192.0.2.1", newcomer())
				if status == http.StatusOK {
					made++
				}
				if second == 0 && i < 20 && status != http.StatusOK {
					t.Fatalf("colleague %d of an office: %d; want 200", i+1, status)
				}
			}
			if status := w.pressFrom(fmt.Sprintf("198.51.100.%d", second), newcomer()); status != http.StatusOK {
				t.Fatalf("a person at another address after %d s: %d; want 200", second, status)
			}
			time.Sleep(time.Second)
		}
		if made > 30 {
			t.Errorf("%d sessions for one address in a minute; want 20 and one more every 6 s", made)
		}
		w.wantCalls(map[string]int{"Stripe": made + 60})
	})
}

// TestSignUpsOfAllAreBounded: they come from many addresses, or the proxy hides the addresses.
func TestSignUpsOfAllAreBounded(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		inBubble(t, anyLink, func(t *testing.T, w *pressRig) {
			w.open()
			made := 0
			for second := range 10 {
				for i := range 90 {
					address := fmt.Sprintf("192.0.%d.%d", second, i)
					if hidden {
						address = "hidden" // as with a certificate in the proxy: no address is known
					}
					if w.pressFrom(address, newcomer()) == http.StatusOK {
						made++
					}
				}
				time.Sleep(time.Second)
			}
			if most := 50 + 9*10; made != most {
				t.Errorf("addresses hidden: %v: %d sessions; want %d", hidden, made, most)
			}
			w.wantCalls(map[string]int{"Stripe": made})
		})
	}
}

// TestARefusedPressCostsNothing: the refusal by the address leaves the person their presses.
func TestARefusedPressCostsNothing(t *testing.T) {
	inBubble(t, anyLink, func(t *testing.T, w *pressRig) {
		w.open()
		for range 20 {
			w.pressFrom("192.0.2.1", newcomer())
		}
		who := w.known("vs_1")
		for range 100 {
			if status := w.pressFrom("192.0.2.1", who); status != http.StatusTooManyRequests {
				t.Fatalf("at a busy address: %d; want 429", status)
			}
		}
		for i := range 10 {
			if status := w.pressFrom("198.51.100.1", who); status != http.StatusOK {
				t.Fatalf("press %d elsewhere: %d; want 200", i+1, status)
			}
		}
	})
}

// TestPeopleBehindAProxyOnThisMachineDoNotShareALimit, if the proxy hides their addresses.
func TestPeopleBehindAProxyOnThisMachineDoNotShareALimit(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		inBubble(t, anyLink, func(t *testing.T, w *pressRig) {
			w.open()
			for i := range 50 {
				if status := w.pressFrom(address, newcomer()); status != http.StatusOK {
					t.Fatalf("person %d at %s: %d; want 200", i+1, address, status)
				}
			}
		})
	}
}

// TestTheServicesLimitIsBusyToo, with the wait that the service asks for, in whole seconds.
func TestTheServicesLimitIsBusyToo(t *testing.T) {
	inBubble(t, anyLink, func(t *testing.T, w *pressRig) {
		w.open()
		w.backend.OnRetry(func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
			return nil, clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED)
		})
		answered := <-w.press(t.Context(), w.known("vs_1"))
		if answered.StatusCode != http.StatusTooManyRequests || answered.Header.Get("Retry-After") != "1" {
			t.Errorf("%s, Retry-After %q; want 429 and 1", answered.Status, answered.Header.Get("Retry-After"))
		}
	})
}

// TestBucketsAreBounded: the memory for persons and addresses has a limit, and the one that pressed last keeps its bucket.
func TestBucketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits()
		who := newcomer()
		for i := range 3 * maxBuckets {
			if i%1000 == 0 && i < 10_000 {
				if err := l.press(who, ""); err != nil {
					t.Fatalf("press %d: %v", i/1000+1, err)
				}
			}
			if err := l.press(person{id: fmt.Sprint(i)}, fmt.Sprintf("192.0.2.%d", i)); err != nil {
				t.Fatal(err)
			}
			if i == 10_000 {
				var busy *busyError
				if err := l.press(who, ""); !errors.As(err, &busy) || busy.wait != 30*time.Second {
					t.Errorf("press 11 among %d others: %v; want a wait of 30s", i, err)
				}
			}
		}
		for name, b := range map[string]buckets{"persons": l.persons, "addresses": l.addresses, "days": l.addressDay} {
			if n := b.byKey.Len(); n != maxBuckets {
				t.Errorf("%s: %d buckets; want %d", name, n, maxBuckets)
			}
		}
	})
}
