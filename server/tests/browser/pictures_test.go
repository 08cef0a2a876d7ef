package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestPagePictures takes a picture of each state that a page can have, in both languages, and looks for flaws. The test
// answers the statuses in place of the server, because most of them take a person days.
func TestPagePictures(t *testing.T) {
	if *browserShots == "" {
		t.Skip("it makes pictures for people: apt-get install chromium, then go test -count=1 -run TestPagePictures ./server/tests/browser -browser.shots=DIRECTORY")
	}
	redis, stripe := redistest.Start(t), rig.StartFakeStripe(t)
	p := rig.Serve(t, stripe.Settings(redis.Addr))
	page := newPageServer(t, goSite(t), p.GRPC, stripe.URL)
	page.start()
	b := startBrowser(t)
	refused := func(code, retry string) string {
		return `{"status":"STATUS_REQUIRES_INPUT","lastError":{"code":"ERROR_CODE_` + code + `","reason":"Stripe says so."},"retry":{` + retry + `}}`
	}
	resolved := func(kind string) string {
		return `{"status":"STATUS_REQUIRES_INPUT","settled":true,"resolution":{"kind":"RESOLUTION_KIND_` + kind + `"},"retry":{"denial":"RETRY_DENIAL_RESOLVED"}}`
	}
	states := []struct{ name, status string }{
		{"unsubmitted", `{"status":"STATUS_REQUIRES_INPUT","retry":{"allowed":true}}`},
		{"abandoned", refused("ABANDONED", `"allowed":true`)},
		{"processing", `{"status":"STATUS_PROCESSING"}`},
		{"expired-document", refused("DOCUMENT_EXPIRED", `"allowed":true,"retriesRemaining":2`)},
		{"device", refused("DEVICE_NOT_SUPPORTED", `"allowed":true,"retriesRemaining":2`)},
		{"cooldown", refused("SELFIE_MANIPULATED", `"denial":"RETRY_DENIAL_COOLDOWN","nextRetryTime":"2026-01-02T03:04:05Z"`)},
		{"used-up", refused("DOCUMENT_UNVERIFIED_OTHER", `"denial":"RETRY_DENIAL_LIMIT_REACHED"`)},
		{"consent", refused("CONSENT_DECLINED", `"denial":"RETRY_DENIAL_NOT_RETRYABLE"`)},
		{"age", refused("UNDER_SUPPORTED_AGE", `"denial":"RETRY_DENIAL_NOT_RETRYABLE"`)},
		{"newer-code", refused("OTHER", `"allowed":true,"retriesRemaining":1`)},
		{"allowed", refused("UNDER_SUPPORTED_AGE", `"allowed":true,"overrideOpen":true`)},
		{"resolved", resolved("DECLINED")},
		{"resolved-elsewhere", resolved("VERIFIED_ELSEWHERE")},
		{"resolved-closed", resolved("CLOSED")},
		{"canceled", `{"status":"STATUS_CANCELED","retry":{"retriesRemaining":1}}`},
		{"canceled-for-good", `{"status":"STATUS_CANCELED","retry":{}}`},
		{"verified", `{"status":"STATUS_VERIFIED","settled":true,"updateTime":"2026-01-02T03:04:05Z"}`},
	}
	show := func(events string) {
		t.Helper()
		b.do("answer", rig.Fields{"path": "**/events", "type": "text/event-stream", "body": events})
		b.do("open", rig.Fields{"url": page.url})
	}
	for _, locale := range []string{"en-GB", "de-DE"} {
		b.do("begin", rig.Fields{"locale": locale})
		live := "\n\nevent: live\ndata: {}\n\n"
		for _, state := range states {
			show("event: status\ndata: " + state.status + live)
			switch state.name { // two need no connection any more
			case "verified":
				b.see("2026")
			case "resolved-elsewhere":
				b.see(map[string]string{"en": "You’re all set", "de": "Alles erledigt"}[locale[:2]])
			default:
				b.see("Live")
			}
			b.inspect(fmt.Sprintf("%s-%s", state.name, locale[:2]))
		}
		b.do("open", rig.Fields{"url": page.url})
		show("event: unknown\ndata: {}" + live)
		b.see("Live")
		b.inspect("begin-" + locale[:2])
		b.do("answer", rig.Fields{"path": "**/link", "type": "application/json", "body": `{"problem":"UNAVAILABLE"}`, "status": 503, "after": 5000})
		b.do("press", rig.Fields{"name": map[string]string{"en": "Start verification", "de": "Prüfung beginnen"}[locale[:2]]})
		b.inspect("link-under-way-" + locale[:2])
		b.see(map[string]string{"en": "That did not work", "de": "Das hat nicht geklappt"}[locale[:2]])
		b.inspect("link-failed-" + locale[:2])
		show("event: status\ndata: " + states[2].status + live + "event: busy\ndata: {}\n\n")
		b.see(map[string]string{"en": "Paused", "de": "Angehalten"}[locale[:2]])
		b.inspect("busy-" + locale[:2])
		show("event: stale\ndata: {}\n\n")
		b.do("pass", rig.Fields{"ms": (8 * time.Second).Milliseconds()})
		b.see(map[string]string{"en": "Try again now", "de": "Jetzt noch einmal versuchen"}[locale[:2]])
		b.inspect("away-" + locale[:2])
	}
	b.do("begin", rig.Fields{"javaScript": false})
	b.do("open", rig.Fields{"url": page.url})
	if text := b.text(); strings.Contains(text, "moment") || !strings.Contains(text, "needs JavaScript") || !strings.Contains(text, "braucht") {
		t.Errorf("without JavaScript the page says: %s", text)
	}
	b.do("look", rig.Fields{"width": 390, "dark": false})
	b.do("shot", rig.Fields{"path": *browserShots + "/noscript-light-phone.png"})
	b.do("look", rig.Fields{"width": 1280, "dark": true})
	b.do("shot", rig.Fields{"path": *browserShots + "/noscript-dark-desktop.png"})
}
