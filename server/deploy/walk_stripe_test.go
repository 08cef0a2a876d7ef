package deploy

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// walkWrongSecret: the signing secret is rolled at Stripe only. Stripe's webhooks are refused until the new one is listed.
func walkWrongSecret(t *testing.T) {
	w := walkThrough(t, "VerificationSignaturesRefused")
	w.began = time.Now()
	const second, third = "whsec_secondsecondsecondsecondsecond", "whsec_thirdthirdthirdthirdthirdthird"
	w.rollAtStripe(second)
	w.record("the fault: the secret is rolled at Stripe")
	w.awaitAlert(w.entry, "firing")
	w.follow("Look at", 0, "")
	w.follow("Do", 0, second+"\n")
	w.awaitPanel("Webhooks not kept", func(v float64) bool { return v == 0 })
	w.noneRefused()
	right := time.Now()
	w.follow("Over when", 0, "")
	if state := w.prometheus.state(w.entry); state != "firing" {
		t.Errorf("the alert is %s as soon as the secret is right: the runbook says that it looks back", state)
	}
	w.awaitAlert(w.entry, "inactive")
	took := time.Since(right)
	w.record("the alert ended %.0f s after the last refusal, which stands for minutes", took.Seconds())
	if took > 20*time.Second {
		t.Errorf("the alert ended %v after the last refusal: the runbook says fifteen minutes", took)
	}
	// The form for one machine.
	w.rollAtStripe(third)
	w.record("the fault: the secret is rolled at Stripe again")
	await(t, "refused signatures", func() bool {
		refused, _ := w.prometheus.value(`sum(increase(verification_webhooks_total{reason="wrong_signature"}[3s]))`)
		return refused > 0
	})
	w.follow("Do", 1, third+"\n")
	w.noneRefused()
	w.nothingLost()
}

// noneRefused waits until no signature is refused for a moment, although webhooks come.
func (w *walk) noneRefused() {
	w.t.Helper()
	await(w.t, "no refused signature", func() bool {
		refused, found := w.prometheus.value(`sum(increase(verification_webhooks_total{reason="wrong_signature"}[3s]))`)
		kept, _ := w.prometheus.value(`sum(increase(verification_webhooks_total{reason="applied"}[3s]))`)
		return (!found || refused == 0) && kept > 0
	})
}

// walkSpentShare: one caller asks for sessions that do not exist until its share of the day's reads is used up. The alert
// about failing calls stays silent, since neither Redis nor Stripe fails. Other callers are served.
func walkSpentShare(t *testing.T) {
	w := walkThrough(t, "VerificationStripeBudgetSpent", "API_READS_PER_DAY=200")
	w.began = time.Now()
	w.guess(1)
	w.record("the fault: one caller asks for ten unknown sessions a second")
	w.awaitAlert(w.entry, "firing")
	if code := w.get(w.clients[0], "vs_none"+strings.Repeat("9", 20)); code != codes.NotFound {
		t.Errorf("another caller, about an unknown session: %v", code)
	}
	if state := w.prometheus.state("VerificationCallsFailing"); state != "inactive" {
		t.Errorf("VerificationCallsFailing is %s", state)
	}
	w.follow("Look at", 0, "")
	w.follow("Do", 0, "")
	w.awaitAlert(w.entry, "inactive")
	w.follow("Over when", 0, "")
	w.nothingLost()
}

// guess lets the caller checkout ask the first replica for sessions that do not exist: so many at once, ten times a second.
func (w *walk) guess(atOnce int) {
	guesser := w.dial(w.replicas["verification-status-0"], "checkout")
	var asking sync.WaitGroup
	var n atomic.Int64
	ctx := w.t.Context()
	for range atOnce {
		asking.Go(func() {
			every(ctx, 100*time.Millisecond, func() { w.get(guesser, fmt.Sprintf("vs_none%020d", n.Add(1))) })
		})
	}
	w.t.Cleanup(asking.Wait)
}

// walkBusy: one caller asks for more unknown sessions a second than this service reads at Stripe. So calls fail, although Redis and Stripe
// are well and reads are left.
func walkBusy(t *testing.T) {
	w := walkThrough(t, "VerificationCallsFailing", "API_READS_PER_DAY=1000000")
	w.began = time.Now()
	w.guess(100)
	w.record("the fault: one caller asks for a hundred unknown sessions at once, again and again")
	w.awaitAlert(w.entry, "firing")
	w.awaitPanel("Webhooks not kept", func(v float64) bool { return v == 0 })
	for _, silent := range []string{"VerificationStripeFailing", "VerificationStripeBudgetSpent", "VerificationNotReady"} {
		if state := w.prometheus.state(silent); state != "inactive" {
			t.Errorf("%s is %s", silent, state)
		}
	}
	w.follow("Look at", 0, "")
	w.entry = "VerificationStripeBudgetSpent" // it has the commands that stop a caller
	w.follow("Do", 0, "")
	w.entry = "VerificationCallsFailing"
	w.awaitAlert(w.entry, "inactive")
	w.nothingLost()
}

// walkSpentBudget: callers have used up all reads of the day, so that nobody gets a retry. That is a page.
func walkSpentBudget(t *testing.T) {
	w := walkThrough(t, "VerificationStripeBudgetSpent", "API_READS_PER_DAY=12", "CALLER_SHARE_PERCENT=100")
	w.began = time.Now()
	var asking sync.WaitGroup
	ctx := t.Context()
	t.Cleanup(asking.Wait)
	for _, client := range w.clients {
		asking.Go(func() {
			every(ctx, 200*time.Millisecond, func() { w.retry(client, w.newest()) })
		})
	}
	w.record("the fault: callers make more retries than there are reads")
	await(t, "the page", func() bool {
		return len(w.prometheus.query(`ALERTS{alertname="VerificationStripeBudgetSpent",severity="page",alertstate="firing"}`)) > 0
	})
	w.record("alert %s: firing, a page", w.entry)
	await(t, "a retry that fails for lack of reads", func() bool { return w.retry(w.clients[0], w.newest()) == codes.Unavailable })
	w.follow("Do", 1, "")
	w.rollOut()
	await(t, "a retry is granted", func() bool { return w.retry(w.clients[0], w.newest()) == codes.OK })
	w.awaitAlert(w.entry, "inactive")
	w.nothingLost()
}

// newest returns the session of the person that came last and has failed.
func (w *walk) newest() string {
	all := w.stripe.Sessions()
	for i := len(all) - 1; i > 0; i-- {
		if all[i].LastErrorCode != "" {
			return all[i].ID
		}
	}
	return all[0].ID
}
