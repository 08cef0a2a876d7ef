package deploy

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
)

// walks are the walks of TestWalkThrough.
var walks = map[string]func(*testing.T){
	"RedisDown": walkRedisDown, "RedisFull": walkRedisFull, "Eviction": walkEviction, "WrongSecret": walkWrongSecret,
	"SpentShare": walkSpentShare, "SpentBudget": walkSpentBudget,
}

// TestWalkThrough makes faults and follows the runbook until they are over. All walks run side by side, also on a machine with two
// processors: most of the time each of them waits.
func TestWalkThrough(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute; without -short: go test -count=1 ./server/deploy")
	}
	shippedOnce(t)
	var running sync.WaitGroup
	var ran atomic.Int32
	for name, walk := range walks {
		running.Go(func() { t.Run(name, func(t *testing.T) { ran.Add(1); walk(t) }) })
	}
	running.Wait()
	if int(ran.Load()) == len(walks) { // else -run has chosen some
		everythingFollowed(t)
	}
}

// walked is the shipped program, built once for all walks.
var walked struct {
	once      sync.Once
	dir, file string
}

func shippedOnce(t *testing.T) string {
	t.Helper()
	walked.once.Do(func() {
		dir, err := os.MkdirTemp("", "walks")
		if err != nil {
			t.Fatal(err)
		}
		walked.dir = dir
		shipped(t, filepath.Join(dir, "server"))
		walked.file = filepath.Join(dir, "server")
	})
	if walked.file == "" {
		t.Fatal("another walk could not build the program")
	}
	return walked.file
}

func removeWalked() { _ = os.RemoveAll(walked.dir) }

// secondsForMinutes is alerts.yml with seconds in place of minutes, in "for" and in the ranges of the expressions: what takes ten
// minutes in production takes ten seconds here. Prometheus scrapes every second in place of every 15.
func secondsForMinutes(t *testing.T) string {
	t.Helper()
	groups := readGroups(t, "alerts.yml")
	shorter := func(text string) string {
		length, err := strconv.Atoi(text[:len(text)-1])
		if err != nil {
			t.Fatalf("%q is no duration of a rule", text)
		}
		unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[text[len(text)-1:]]
		return fmt.Sprintf("%dms", (time.Duration(length) * unit / 60).Milliseconds())
	}
	for i, r := range groups.Groups[0].Rules {
		if r.For != "" {
			groups.Groups[0].Rules[i].For = shorter(r.For)
		}
		groups.Groups[0].Rules[i].Expr = regexp.MustCompile(`\[[0-9]+[smhd]\]`).ReplaceAllStringFunc(r.Expr, func(window string) string {
			return "[" + shorter(window[1:len(window)-1]) + "]"
		})
	}
	file := filepath.Join(t.TempDir(), "alerts.yml")
	writeYAML(t, file, groups)
	return file
}

// walkThrough starts the walk of an entry. People have been verified, and nothing is wrong.
func walkThrough(t *testing.T, entry string, settings ...string) *walk {
	t.Helper()
	w := newWalk(t, entry, secondsForMinutes(t), settings...)
	w.awaitPanel("Webhooks not kept", func(v float64) bool { return v == 0 })
	await(t, "twenty people", func() bool { return len(w.stripe.Sessions()) >= 20 })
	w.awaitAlert(entry, "inactive")
	t.Cleanup(func() { t.Logf("%s:\n%s", entry, w.lines.String()) })
	return w
}

// fault makes the fault by a command in Redis. It is no part of what a person does.
func (w *walk) fault(args ...string) {
	w.t.Helper()
	w.redis.MustAsk(args...)
	w.record("the fault: %s", strings.Join(args, " "))
}

func (w *walk) usedMemory() int {
	w.t.Helper()
	used, err := strconv.Atoi(w.redis.Info("used_memory"))
	if err != nil {
		w.t.Fatal(err)
	}
	return used
}

// get calls GetStatus for a session and returns the code.
func (w *walk) get(client verificationv1.VerificationServiceClient, id string) codes.Code {
	_, err := client.GetStatus(w.t.Context(), &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}})
	return status.Code(err)
}

// retry calls RetryVerification for a session and returns the code.
func (w *walk) retry(client verificationv1.VerificationServiceClient, id string) codes.Code {
	_, err := client.RetryVerification(w.t.Context(), &verificationv1.RetryVerificationRequest{SessionId: id})
	return status.Code(err)
}

// walkRedisFull: maxmemory is reached, and the policy is noeviction. Known sessions are answered and nothing is lost.
func walkRedisFull(t *testing.T) {
	w := walkThrough(t, "VerificationRedisMemory")
	known := w.stripe.Sessions()[0].ID
	w.began = time.Now()
	w.fault("CONFIG", "SET", "maxmemory", strconv.Itoa(w.usedMemory()-200_000))
	w.awaitAlert("VerificationWebhooksFailing", "firing")
	w.awaitAlert(w.entry, "firing")
	w.askReadiness(http.StatusOK)
	if code := w.get(w.clients[0], known); code != codes.OK {
		t.Errorf("the status of a known session: %v", code)
	}
	created, err := w.stripe.Create(stripesim.NewSession{})
	if err != nil {
		t.Fatal(err)
	}
	if code := w.get(w.clients[0], created.ID); code != codes.Unavailable {
		t.Errorf("the status of a session that was created since: %v", code)
	}
	if code := w.retry(w.clients[0], known); code != codes.Unavailable {
		t.Errorf("a retry while Redis is full: %v", code)
	}
	w.follow("Look at", 0, "")
	w.follow("Do", 0, "")
	w.awaitPanel("Webhooks not kept", func(v float64) bool { return v == 0 })
	w.awaitAlert(w.entry, "inactive")
	w.awaitAlert("VerificationWebhooksFailing", "inactive")
	w.follow("Over when", 0, "")
	w.nothingLost()
}

// walkEviction: a policy that deletes keys is set while the server runs. Every session that was deleted comes back.
func walkEviction(t *testing.T) {
	w := walkThrough(t, "VerificationRedisEvicting")
	w.began = time.Now()
	before := w.redis.MustAsk("DBSIZE")
	w.fault("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	w.fault("CONFIG", "SET", "maxmemory", strconv.Itoa(w.usedMemory()-30_000))
	w.awaitAlert("VerificationRedisMisconfigured", "firing")
	w.awaitAlert(w.entry, "firing")
	w.askReadiness(http.StatusServiceUnavailable)
	w.record("keys in Redis: %s before, %s now", before, w.redis.MustAsk("DBSIZE"))
	w.follow("Look at", 0, "")
	w.follow("Do", 0, "")
	w.askReadiness(http.StatusOK)
	w.awaitAlert("VerificationRedisMisconfigured", "inactive")
	// A replica catches up by itself after an outage. While it does, the command would stop early.
	await(t, "a catch-up since then", func() bool {
		last, _ := w.prometheus.value(`max(verification_catch_up_last_done_timestamp_seconds)`)
		return last > float64(w.began.Unix())
	})
	w.follow("Do", 1, "")
	w.awaitAlert(w.entry, "inactive")
	w.follow("Over when", 0, "")
	w.nothingLost()
	if listed, all := w.listed(), len(w.stripe.Sessions()); listed != all {
		t.Errorf("%d of %d sessions are in the list", listed, all)
	}
}

// listed returns how many sessions ListVerifications has.
func (w *walk) listed() (n int) {
	w.t.Helper()
	request := &verificationv1.ListVerificationsRequest{Filter: &verificationv1.ListVerificationsRequest_Status{Status: verificationv1.Status_STATUS_REQUIRES_INPUT}, PageSize: 100}
	for {
		page, err := w.clients[0].ListVerifications(w.t.Context(), request)
		if err != nil {
			w.t.Fatal(err)
		}
		n += len(page.GetVerifications())
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return n
		}
	}
}

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
	guesser := w.dial(w.replicas["verification-status-0"], "checkout")
	var asking sync.WaitGroup
	ctx := t.Context()
	asking.Go(func() {
		n := 0
		every(ctx, 100*time.Millisecond, func() { n++; w.get(guesser, fmt.Sprintf("vs_none%020d", n)) })
	})
	t.Cleanup(asking.Wait)
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

// walkSpentBudget: callers have used up all reads of the day, so that nobody gets a retry. That is a page.
func walkSpentBudget(t *testing.T) {
	w := walkThrough(t, "VerificationStripeBudgetSpent", "API_READS_PER_DAY=30", "CALLER_SHARE_PERCENT=100")
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
	if code := w.retry(w.clients[0], w.newest()); code != codes.Unavailable {
		t.Errorf("a retry without reads: %v", code)
	}
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
