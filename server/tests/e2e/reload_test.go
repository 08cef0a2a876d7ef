package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// mountedSecret is a secret as Kubernetes mounts it: the file is a link through ..data, and a change is a
// new directory and a renamed link.
type mountedSecret struct {
	t    *testing.T
	dir  string
	n    int
	path string
}

func mountSecret(t *testing.T, text string) *mountedSecret {
	t.Helper()
	m := &mountedSecret{t: t, dir: t.TempDir()}
	m.path = filepath.Join(m.dir, "value")
	m.swap(text)
	if err := os.Symlink(filepath.Join("..data", "value"), m.path); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *mountedSecret) swap(text string) {
	m.t.Helper()
	m.n++
	next, link := fmt.Sprintf("..2026_11_23_%d", m.n), filepath.Join(m.dir, "..data")
	old, _ := os.Readlink(link)
	err := errors.Join(
		os.Mkdir(filepath.Join(m.dir, next), 0o700),
		os.WriteFile(filepath.Join(m.dir, next, "value"), []byte(text), 0o600),
		os.Symlink(next, link+"_tmp"),
		os.Rename(link+"_tmp", link),
	)
	if old != "" {
		err = errors.Join(err, os.RemoveAll(filepath.Join(m.dir, old)))
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// remove takes the file away until the next swap.
func (m *mountedSecret) remove() {
	m.t.Helper()
	if err := os.Remove(filepath.Join(m.dir, "..data")); err != nil {
		m.t.Fatal(err)
	}
}

// metric returns the value of a line of /metrics, or the empty text if there is no such line.
func metric(t *testing.T, p *rig.Process, name string) string {
	t.Helper()
	response, err := rig.NewHTTPClient(t).Get(p.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, err := rig.ReadAll(response)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// TestTheWebhookSecretIsRolledWithoutARestart: from A over "B,A" to B, and a file that goes bad.
func TestTheWebhookSecretIsRolledWithoutARestart(t *testing.T) {
	t.Parallel()
	var secrets secretCanaries
	a, b := secrets.add("whsec_%s", "PlantedFirstSecret"), secrets.add("whsec_%s", "PlantedSecondSecret")
	c := secrets.add("whsec_%s", "PlantedThirdSecret")
	file := mountSecret(t, a+"\n")
	p := rig.Serve(t, rig.Settings(redistest.Start(t).Addr, "STRIPE_WEBHOOK_SECRET=", "STRIPE_WEBHOOK_SECRET_FILE="+file.path, "LOG_LEVEL=debug"))
	client, sent := rig.NewHTTPClient(t), 0
	send := func(secret string) int {
		t.Helper()
		sent++
		e := rig.NewEvent(fmt.Sprintf("evt_%d", sent), "processing", "vs_rolled", time.Now().Unix()-100, nil, rig.Fields{"status": "processing"})
		response, _, err := rig.Post(client, p.Webhook, rig.Sign(time.Now(), secret, e.Body), e.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode
	}
	want := func(secret string, status int) {
		t.Helper()
		if got := send(secret); got != status {
			t.Errorf("signed by %s: %d, want %d", secret, got, status)
		}
	}
	counted := func(place string) string {
		return metric(t, p, `verification_webhook_signatures_total{secret="`+place+`"}`)
	}
	want(a, http.StatusOK)
	want(b, http.StatusBadRequest)
	if counted("1") != "1" || counted("2") != "" {
		t.Errorf("verified by the first secret: %q, by the second %q", counted("1"), counted("2"))
	}
	file.swap(b + "," + a)
	p.Await("the second secret is accepted", func() bool { return send(b) == http.StatusOK })
	want(a, http.StatusOK)
	if counted("1") != "2" || counted("2") != "1" {
		t.Errorf("verified by the first secret: %q, by the second %q", counted("1"), counted("2"))
	}
	file.swap(b)
	p.Await("the first secret is refused", func() bool { return send(a) == http.StatusBadRequest })
	want(b, http.StatusOK)

	refused := func() string {
		return metric(t, p, `verification_file_reloads_total{file="STRIPE_WEBHOOK_SECRET_FILE",result="refused"}`)
	}
	if got := refused(); got != "0" { // else the first would be no rise
		t.Errorf("%q refusals before the first", got)
	}
	for n, bad := range []string{"", c + " " + c, strings.TrimPrefix(c, "whsec_")} {
		file.swap(bad)
		p.Await("the bad file is noticed", func() bool { return refused() == fmt.Sprint(n+1) })
		want(b, http.StatusOK)
		want("", http.StatusBadRequest)
	}
	file.remove()
	p.Await("the missing file is noticed", func() bool { return refused() == "4" })
	want(b, http.StatusOK)
	file.swap(c)
	p.Await("the file that came back is used", func() bool { return send(c) == http.StatusOK })
	want(b, http.StatusBadRequest)
	// The log has the ids of events, but none of the secrets.
	file.swap(b)
	p.Await("the third secret is refused", func() bool { return send(c) == http.StatusBadRequest })
	for n, secret := range []string{b, c} {
		e := rig.NewEvent(fmt.Sprintf("evt_x%d_%s", n, secret), "processing", "vs_rolled", time.Now().Unix()-100, nil, rig.Fields{"status": "processing"})
		if response, _, err := rig.Post(client, p.Webhook, rig.Sign(time.Now(), b, e.Body), e.Body); err != nil || response.StatusCode != http.StatusOK {
			t.Errorf("%v, %v", response, err)
		}
		p.Await("the event is in the log, without the secret in its id", func() bool {
			return strings.Contains(p.Stderr.String(), fmt.Sprintf("evt_x%d_[secret]", n))
		})
	}
	if errors := strings.Count(p.Stderr.String(), `"level":"ERROR"`); errors != 4 {
		t.Errorf("%d error lines for 4 bad files", errors)
	}
	secrets.wantAbsent(t, "an admin page", strings.Join(adminPages(t, p), "\n"))
	secrets.wantAbsent(t, "the log", p.Stderr.String()+p.Stdout.String())
}

// TestTheAPIKeyIsRolledWithoutARestart: when the old key is revoked the new one serves retries; a key
// of the other mode is not used.
func TestTheAPIKeyIsRolledWithoutARestart(t *testing.T) {
	t.Parallel()
	secrets := secretCanaries{texts: []string{rig.APIKey, rig.RolledKey}}
	file := mountSecret(t, rig.APIKey+"\n")
	stripe := rig.StartFakeStripe(t)
	p := rig.Serve(t, stripe.Settings(redistest.Start(t).Addr, "STRIPE_API_KEY=", "STRIPE_API_KEY_FILE="+file.path, "LOG_LEVEL=debug"))
	stripe.SendTo(p)
	client := rig.ClientOf(t, p)
	id := stripe.NewSession("person-1")
	stripe.SubmitAndFinish(id, "document_expired")
	request := &verificationv1.RetryVerificationRequest{SessionId: id}
	stripe.OpenLink(rig.MustRetry(t, client, request).GetUrl())

	revoked := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.Header.Get("Authorization"), rig.APIKey) {
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":{"type":"invalid_request_error","code":"api_key_expired"}}`)
		return true
	}
	stripe.AnswerWith(revoked)
	_, err := rig.Retry(t, client, request)
	rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE)
	file.swap(rig.RolledKey)
	p.Await("a retry with the new key", func() bool {
		_, err := rig.Retry(t, client, request)
		return err == nil
	})

	reloads := func(result string) string {
		return metric(t, p, `verification_file_reloads_total{file="STRIPE_API_KEY_FILE",result="`+result+`"}`)
	}
	file.swap(secrets.add("sk_live_%s", "PlantedLiveKey"))
	p.Await("the live key is refused", func() bool { return reloads("refused") == "1" })
	p.Await("the log says why", func() bool { return strings.Contains(p.Stderr.String(), "other mode") })
	stripe.OpenLink(rig.MustRetry(t, client, request).GetUrl())
	if got := rig.GetStatus(t, client, id); reloads("used") != "1" || grants(got) != 1 {
		t.Errorf("%q changes were used; %d grants", reloads("used"), grants(got))
	}
	secrets.wantAbsent(t, "an admin page", strings.Join(adminPages(t, p), "\n"))
	secrets.wantAbsent(t, "the log", p.Stderr.String()+p.Stdout.String())
}

// TestThePasswordOfRedisIsRolledWithoutARestart: connections made after the old one was taken away
// use the new one.
func TestThePasswordOfRedisIsRolledWithoutARestart(t *testing.T) {
	t.Parallel()
	var secrets secretCanaries
	first, second := secrets.add("%s", "PlantedFirstPassword"), secrets.add("%s", "PlantedSecondPassword")
	db := redistest.Start(t)
	admin := redis.NewClient(&redis.Options{Addr: db.Addr})
	defer admin.Close()
	do := func(args ...any) {
		t.Helper()
		if err := admin.Do(rig.Within(t, rig.Soon), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	do("ACL", "SETUSER", "app", "on", ">"+first, "~*", "&*", "+@all")
	url := func(password string) string { return "redis://app:" + password + "@" + db.Addr }
	file := mountSecret(t, url(first))
	p := rig.Serve(t, rig.Settings(db.Addr, "REDIS_URL=", "REDIS_URL_FILE="+file.path, "LOG_LEVEL=debug"))
	do("ACL", "SETUSER", "app", ">"+second)
	file.swap(url(second))
	reloads := func(result string) string {
		return metric(t, p, `verification_file_reloads_total{file="REDIS_URL_FILE",result="`+result+`"}`)
	}
	p.Await("the new password is taken", func() bool { return reloads("used") == "1" })
	do("ACL", "SETUSER", "app", "<"+first)
	do("CLIENT", "KILL", "USER", "app")
	e := rig.NewEvent("evt_1", "processing", "vs_1", time.Now().Unix()-100, nil, rig.Fields{"status": "processing"})
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, e)
	file.swap("redis://app:" + second + "@redis.example:6379")
	p.Await("another address is refused", func() bool { return reloads("refused") == "1" })
	if got := rig.GetStatus(t, rig.ClientOf(t, p), "vs_1"); got.GetVerification().GetStatus() != verificationv1.Status_STATUS_PROCESSING {
		t.Errorf("%v", got)
	}
	secrets.wantAbsent(t, "an admin page", strings.Join(adminPages(t, p), "\n"))
	secrets.wantAbsent(t, "the log", p.Stderr.String()+p.Stdout.String())
}
