package recovery

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/document"
	"example.com/verification-status/server/tests/rig"
)

// soon bounds how long something redacted can be read after the servers start. The promise is ten minutes.
const soon = 20 * time.Second

// drill is an installation with people in every state, some of them redacted after the backup.
type drill struct {
	*installation
	waiting, failed, twice, verified, processing, canceled, erased, erasing, young, barred *person // from before the backup
	erasedLater                                                                            []*person
	before, after                                                                          map[string]string // resume tokens, by what is watched
	consumer                                                                               *consumer
}

// TestG7_G11_TheRestoreDrill: Redis is backed up by the documented commands. Then people act and are redacted, by webhooks and without. Redis is
// killed, its disk is lost, and it is restored by the documented commands.
//
// RECOVERY_SESSIONS is the number of other sessions, 150 by default: see .ci/recovery.
func TestG7_G11_TheRestoreDrill(t *testing.T) {
	t.Parallel() // it mostly waits
	sessions, long := 150, false
	if text := os.Getenv("RECOVERY_SESSIONS"); text != "" {
		number, err := strconv.Atoi(text)
		if err != nil || number < 1 {
			t.Fatalf("RECOVERY_SESSIONS is %q", text)
		}
		sessions, long = number, true
	}
	stripe := rig.StartFakeStripe(t, func(c *stripesim.Config) {
		c.MaxEvents, c.Delivery.MaxAttempts = 100*sessions, 1
	})
	silence(stripe) // an endpoint before the history
	now := stripe.Clock()
	if err := stripe.CreateHistory(stripesim.History{Sessions: sessions, Reference: bulkReference, From: now.AddDate(0, 0, -25), To: now.Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	d := &drill{installation: install(t, stripe, "API_READS_PER_DAY=1000000")}
	began := time.Now()
	d.start()
	stripe.SendTo(d.servers[0])
	d.awaitCaughtUp(30 * time.Minute)
	stripe.CatchUp()
	t.Logf("the first catch-up applied %d events in %v", len(stripe.Events()), time.Since(began).Round(time.Millisecond))
	d.live()
	// A backup of the last minute would hold the lease of a catch-up that runs now, and so delay the one after the restore.
	rig.Await(t, "no catch-up runs", func() bool { return d.ask("EXISTS vs:lease:catch-up") == "0" })
	began = time.Now()
	d.backup()
	t.Logf("%d sessions; the backup took %v and has %d bytes", len(stripe.Sessions()), time.Since(began).Round(time.Millisecond), d.backupSize())
	d.liveOn(sessions)
	d.loseDisk()
	// What a Redis leaves that died while it wrote a file.
	d.write(filepath.Join(d.data, "temp-123.rdb"), 0o640, d.erasedLater[0].reference)
	d.run("pause")
	d.stop()

	// Servers that start without step 4 catch up at once by themselves.
	began = time.Now()
	d.run("restore")
	d.run("aof")
	t.Logf("without step 4: Redis was restored after %v", time.Since(began).Round(time.Millisecond))
	if holds("Redis", d.dump(), d.erasedLater) == "" {
		t.Error("nothing of the people who were redacted after the backup is in it: this test proves nothing")
	}
	began = time.Now()
	d.start()
	erased := d.awaitErased(soon + time.Duration(sessions)*time.Millisecond)
	t.Logf("without step 4: nothing redacted can be read %v after the start of the servers", erased.Sub(began).Round(time.Millisecond))
	d.stop()

	// With every step nothing redacted can be read when the servers start.
	began = time.Now()
	d.run("restore")
	d.run("aof")
	restored := time.Since(began)
	caughtUp := d.command("catch-up")
	t.Logf("Redis was restored after %v, and caught up after %v:\n%s", restored.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), caughtUp)
	if !strings.HasPrefix(caughtUp, "catch-up complete") {
		t.Errorf("server reconcile says %s", caughtUp)
	}
	d.start()
	t.Logf("the servers are ready %v after the begin of the restore", time.Since(began).Round(time.Millisecond))
	if where := d.readable(d.erasedLater); where != "" {
		t.Errorf("something redacted can be read: %s", where)
	}
	if wrong := d.wrong(); wrong != "" {
		t.Errorf("a session differs: %s", wrong)
	}
	stripe.SendTo(d.servers[0])
	d.wantCounts()
	d.wantTokens()
	d.consumer.wantRepeats(d)
	d.wantFeed()
	if !long { // else the last minute of the file can still be written
		d.wantFilesErased()
	}
	d.script(document.Code(t, page, "backup"), false) // they are paused
	d.run("resume")
	d.backup()
}

// awaitErased waits until nothing redacted can be read, and returns when that was.
func (d *drill) awaitErased(within time.Duration) time.Time {
	d.t.Helper()
	for deadline := time.Now().Add(within); ; {
		where, at := d.unredacted(d.erasedLater), time.Now()
		switch {
		case where != "" && at.After(deadline):
			d.t.Fatalf("after %v: %s", within, where)
		case where != "":
			continue
		}
		if where := d.readable(d.erasedLater); where != "" {
			d.t.Fatalf("all sessions are redacted, and %s", where)
		}
		return at
	}
}

// live brings people into every state, and notes resume tokens.
func (d *drill) live() {
	d.t.Helper()
	d.consumer = newConsumer(d)
	for name, p := range map[string]**person{"waiting": &d.waiting, "failed": &d.failed, "twice": &d.twice, "verified": &d.verified, "processing": &d.processing,
		"canceled": &d.canceled, "erased": &d.erased, "erasing": &d.erasing, "young": &d.young, "barred": &d.barred} {
		*p = d.come(name)
	}
	for _, p := range []*person{d.failed, d.twice, d.twice, d.erased} {
		d.submit(p, "document_expired")
		rig.MustRetry(d.t, d.clients[1], &verificationv1.RetryVerificationRequest{SessionId: p.id})
	}
	for _, p := range []*person{d.young, d.barred} {
		d.submit(p, "under_supported_age")
	}
	d.allow(d.young)
	for _, p := range []*person{d.verified, d.erasing} {
		d.submit(p, "verified")
	}
	d.stripe.Do(func(id string) error { return d.stripe.Submit(id, "verified") }, d.processing.id)
	d.stripe.Do(d.stripe.Cancel, d.canceled.id)
	d.redact(d.erased)
	d.stripe.Do(d.stripe.Redact, d.erasing.id)
	d.consumer.awaitOutcomes(d, d.failed, d.twice, d.verified, d.young, d.barred)
	d.before = d.tokens()
}

// liveOn lets people act after the backup. All of it is lost, and Stripe knows most of it.
func (d *drill) liveOn(sessions int) {
	d.t.Helper()
	d.submit(d.failed, "document_unverified_other")
	rig.MustRetry(d.t, d.clients[0], &verificationv1.RetryVerificationRequest{SessionId: d.failed.id})
	d.submit(d.waiting, "verified")
	d.stripe.Do(d.stripe.FinishProcessing, d.processing.id)
	d.allow(d.barred)
	late, lateErased := d.come("late"), d.come("late-erased")
	d.submit(late, "verified")
	d.submit(lateErased, "document_expired")
	d.redact(d.verified, d.twice, lateErased)
	d.stripe.Do(d.stripe.FinishRedaction, d.erasing.id)
	d.consumer.awaitOutcomes(d, d.failed, d.waiting, d.processing, late)
	d.after = d.tokens()

	silence(d.stripe)
	d.redact(d.canceled)
	d.stripe.Tick()
	for n, session := range d.stripe.Sessions() {
		if n < sessions && session.Redaction == "redacted" {
			d.erasedLater = append(d.erasedLater, bulkPerson(session))
		}
		if n < sessions && n%20 == 0 && session.Redaction == "" && session.Status != "processing" {
			d.erasedLater = append(d.erasedLater, bulkPerson(session))
			if err := d.stripe.Redact(session.ID); err != nil {
				d.t.Fatal(err)
			}
			if err := d.stripe.FinishRedaction(session.ID); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	d.erasedLater = append(d.erasedLater, d.verified, d.twice, lateErased, d.erasing, d.canceled)
}

// silence makes the only endpoint one that nothing listens at. There must be one: otherwise Stripe makes no events of redactions.
func silence(stripe *rig.FakeStripe) {
	if err := stripe.SetEndpoints(stripesim.Endpoint{URL: "http://127.0.0.1:1/webhook", Secrets: []string{rig.WebhookSecret}}); err != nil {
		panic(err)
	}
}

// allow is an operator's act.
func (d *drill) allow(p *person) {
	d.t.Helper()
	_, conn := rig.Dial(d.t, d.servers[0].GRPC)
	if _, err := verificationv1.NewOperatorServiceClient(conn).AllowRetry(rig.Within(d.t, rig.Soon), &verificationv1.AllowRetryRequest{SessionId: p.id}); err != nil {
		d.t.Fatal(err)
	}
}

func (d *drill) backupSize() int64 {
	d.t.Helper()
	size, err := strconv.ParseInt(strings.TrimSpace(d.script(`cat "$BACKUPS"/*.rdb | wc -c`, true)), 10, 64)
	if err != nil {
		d.t.Fatal(err)
	}
	return size
}
