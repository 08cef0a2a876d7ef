package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

const thinEvent = `{"id":"evt_t","object":"v2.core.event","type":"v1.identity.verification_session.verified","livemode":false,` +
	`"created":"2026-09-21T13:36:21.435Z","context":null,"reason":null,"snapshot_event":"evt_1",` +
	`"related_object":{"id":"vs_1","type":"identity.verification_session","url":"/v1/identity/verification_sessions/vs_1"}}`

func thinAs(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(thinEvent) }

func TestAThinEventReachesTheApplier(t *testing.T) {
	e := start(t, nil)
	got := e.post(t, thinAs(`"context":null`, `"context":"acct_1"`), sign(thinAs(`"context":null`, `"context":"acct_1"`), now, secret))
	checkAnswer(t, got, 200, webhook.ReasonApplied)
	want := []verification.Event{{
		ID: "evt_t", Type: "v1.identity.verification_session.verified", Source: verification.SourceWebhook,
		Second: 1789997781, RecordTime: now.UnixMilli(), Thin: true, Snapshot: "evt_1",
		Object: verification.Object{ID: "vs_1", Account: "acct_1", ByContext: true},
	}}
	if diff := cmp.Diff(want, e.keeper.kept()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if got.result.EventType != "v1.identity.verification_session.verified" {
		t.Errorf("event type %q: the metric must tell the styles apart", got.result.EventType)
	}
	body := thinAs("_session.verified", "_session.appealed", "evt_t", "evt_u")
	if got := e.post(t, body, sign(body, now, secret)); got.result.EventType != "v1.other" {
		t.Errorf("event type %q, want v1.other", got.result.EventType)
	}
}

// TestAThinEventWithoutAModeReachesTheApplier: the read knows the mode. An event that says its mode is filtered by it.
func TestAThinEventWithoutAModeReachesTheApplier(t *testing.T) {
	for said, want := range map[string]webhook.Reason{"": webhook.ReasonApplied, `"livemode":null,`: webhook.ReasonApplied, `"livemode":true,`: webhook.ReasonApplied, `"livemode":false,`: webhook.ReasonOtherLivemode} {
		live := true
		e := start(t, func(c *webhook.Config) { c.Livemode = &live })
		body := thinAs(`"livemode":false,`, said)
		checkAnswer(t, e.post(t, body, sign(body, now, secret)), 200, want)
		kept := e.keeper.kept()
		if (len(kept) == 1) != (want == webhook.ReasonApplied) || len(kept) == 1 && kept[0].ModeUnknown == kept[0].Object.Livemode {
			t.Errorf("%q: kept %+v", said, kept)
		}
	}
}

// TestTheAnswerToAThinEvent: another delivery is wanted only if it can help.
func TestTheAnswerToAThinEvent(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		reason webhook.Reason
		level  string
	}{
		{verification.ErrStripeUnavailable, 503, webhook.ReasonStripeAway, "WARN"},
		{verification.ErrStripeBusy, 503, webhook.ReasonStripeAway, "WARN"},
		{verification.ErrStripeUnauthorized, 503, webhook.ReasonKeyRefused, "ERROR"},
		{verification.ErrStripeNotConfigured, 503, webhook.ReasonNoKey, "ERROR"},
		{&verification.StripeRefusedError{Code: "x"}, 503, webhook.ReasonApplyFailed, "ERROR"},
		{errors.New("the store is away"), 503, webhook.ReasonApplyFailed, "ERROR"},
		{verification.ErrStripeUnknown, 200, webhook.ReasonUnknownSession, "WARN"},
		{verification.ErrStripeAccountRefused, 200, webhook.ReasonAccountRefused, "WARN"},
		{verification.ErrStripeExcluded, 200, webhook.ReasonAccountRefused, "WARN"},
		{verification.ErrStripeOtherMode, 200, webhook.ReasonOtherLivemode, "WARN"},
	} {
		e := start(t, nil)
		e.keeper.fail(func(context.Context) error { return fmt.Errorf("reading: %w", test.err) })
		got := e.post(t, thinEvent, sign(thinEvent, now, secret))
		checkAnswer(t, got, test.status, test.reason)
		if after := got.header.Get("Retry-After"); (after != "") != (test.status == 503) {
			t.Errorf("%v: Retry-After %q", test.err, after)
		}
		log := e.logs.String()
		if !strings.Contains(log, `"level":"`+test.level+`"`) || !strings.Contains(log, "evt_t") || !strings.Contains(log, "vs_1") {
			t.Errorf("%v: the log must name the event and the session, at level %s:\n%s", test.err, test.level, log)
		}
	}
}

func TestThinEventsOfOthersAreIgnored(t *testing.T) {
	live := true
	e := start(t, func(c *webhook.Config) {
		c.Livemode, c.Accounts = &live, verification.NewAccounts([]string{"acct_1"})
	})
	checkAnswer(t, e.post(t, thinEvent, sign(thinEvent, now, secret)), 200, webhook.ReasonOtherLivemode)
	for _, test := range []struct {
		context string
		want    webhook.Reason
	}{
		{"acct_2", webhook.ReasonOtherAccount}, {"acct_1/acct_2", webhook.ReasonOtherAccount}, {"acct_1", webhook.ReasonApplied}, {"org_1/acct_1", webhook.ReasonDuplicate},
	} {
		body := thinAs(`"context":null`, `"context":"`+test.context+`"`, `"livemode":false`, `"livemode":true`)
		checkAnswer(t, e.post(t, body, sign(body, now, secret)), 200, test.want)
	}
	snapshot := eventAs(`"object":"event"`, `"object":"event","context":"acct_2"`, `"livemode":false`, `"livemode":true`, "evt_1", "evt_9")
	checkAnswer(t, e.post(t, snapshot, sign(snapshot, now, secret)), 200, webhook.ReasonOtherAccount)
	if kept := e.keeper.kept(); len(kept) != 1 {
		t.Errorf("kept %+v", kept)
	}
}

func TestOtherEventsAreAcknowledged(t *testing.T) {
	e := start(t, nil)
	for body, want := range map[string]webhook.Reason{
		thinAs("v1.identity.verification_session.verified", "v2.core.event_destination.ping", "vs_1", "ed_1"): webhook.ReasonPing,
		thinAs("v1.identity.verification_session.verified", "v2.core.account.updated"):                        webhook.ReasonNotIdentity,
		`{"type":"invoice.paid"}`: webhook.ReasonNotIdentity,
	} {
		checkAnswer(t, e.post(t, body, sign(body, now, secret)), 200, want)
	}
	bridge := `{"detail-type":"identity.verification_session.verified","detail":` + verifiedEvent + `}`
	checkAnswer(t, e.post(t, bridge, sign(bridge, now, secret)), 400, webhook.ReasonMalformed)
	if log := e.logs.String(); !strings.Contains(log, "EventBridge") || !strings.Contains(log, "evt_1") {
		t.Errorf("the log must name EventBridge and the event:\n%s", log)
	}
	if kept := e.keeper.kept(); len(kept) != 0 {
		t.Errorf("kept %+v", kept)
	}
}

func TestAnAccountThatLeavesOrComesIsReported(t *testing.T) {
	for eventType, answered := range map[string]webhook.Reason{
		"account.application.deauthorized": webhook.ReasonDeauthorized, "account.application.authorized": webhook.ReasonNotIdentity,
	} {
		test := false
		var left, came []string // requests follow one another here
		var fails error
		note := func(to *[]string) func(context.Context, string, int64) error {
			return func(_ context.Context, account string, second int64) error {
				*to = append(*to, fmt.Sprint(account, " at ", second))
				return fails
			}
		}
		e := start(t, func(c *webhook.Config) {
			c.Livemode, c.Accounts = &test, verification.NewAccounts([]string{"acct_1", "acct_2"})
			c.Deauthorized, c.Authorized = note(&left), note(&came)
		})
		body := func(account, livemode string) string {
			return `{"id":"evt_d","object":"event","type":"` + eventType + `","created":1790000181,"livemode":` + livemode +
				`,"account":"` + account + `","data":{"object":{"id":"ca_1","object":"application"}}}`
		}
		for _, delivery := range []struct {
			account, livemode string
			want              webhook.Reason
		}{
			{"acct_1", "false", answered}, {"acct_2", "true", webhook.ReasonOtherLivemode}, {"acct_3", "false", webhook.ReasonOtherAccount},
		} {
			body := body(delivery.account, delivery.livemode)
			checkAnswer(t, e.post(t, body, sign(body, now, secret)), 200, delivery.want)
		}
		wantLeft, wantCame := []string{"acct_1 at 1790000181"}, []string(nil)
		if answered == webhook.ReasonNotIdentity {
			wantLeft, wantCame = wantCame, wantLeft
		}
		if !slices.Equal(left, wantLeft) || !slices.Equal(came, wantCame) {
			t.Errorf("%s: left %v, came %v; want %v and %v", eventType, left, came, wantLeft, wantCame)
		}
		fails = errors.New("no store")
		lost := body("acct_2", "false")
		checkAnswer(t, e.post(t, lost, sign(lost, now, secret)), 503, webhook.ReasonApplyFailed)
		silent := start(t, nil) // without the hooks
		bare := `{"id":"evt_d","type":"` + eventType + `","account":"acct_1"}`
		checkAnswer(t, silent.post(t, bare, sign(bare, now, secret)), 200, answered)
	}
}
