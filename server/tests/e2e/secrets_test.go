package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestG10_NothingSecretRests sends client secrets, links, webhook secrets, API keys and a Redis password over every input,
// and looks for them in every output.
func TestG10_NothingSecretRests(t *testing.T) {
	t.Parallel() // it mostly waits
	var secrets secretCanaries
	stripe := rig.StartFakeStripe(t)
	rolled := secrets.add("whsec_%s", "RolledOutWebhookSecret")
	password := secrets.add("%s", "pA55@w:rd/RedisPassword")
	db := redistest.Start(t, "--requirepass", password)
	redisURL := "REDIS_URL=" + (&url.URL{Scheme: "redis", Host: db.Addr, User: url.UserPassword("", password)}).String()
	env := stripe.Settings(db.Addr, redisURL, "LOG_LEVEL=debug", "STRIPE_WEBHOOK_SECRET="+rolled+","+rig.WebhookSecret)
	secrets.texts = append(secrets.texts, rig.APIKey, rig.WebhookSecret)
	servers := []*rig.Process{rig.Serve(t, env), rig.Serve(t, append(env, "LOG_FORMAT=json"))}
	text := rig.Launch(t, append(env, "LOG_FORMAT=text"), "serve") // the third's ports are not needed
	text.Await("the third server listens", func() bool { return strings.Contains(text.Stderr.String(), "listening") })
	stripe.SendTo(servers[0])
	client := rig.ClientOf(t, servers[0])

	var texts []string // the texts that callers got
	note := func(err error) {
		if s, ok := status.FromError(err); err != nil && ok {
			texts = append(texts, s.String(), fmt.Sprint(s.Proto()))
		}
	}
	id := stripe.NewSession("person-secret")
	stripe.SubmitAndFinish(id, "document_expired")
	response := rig.MustRetry(t, client, &verificationv1.RetryVerificationRequest{SessionId: id})
	secrets.addLink(response.GetUrl(), response.GetClientSecret())
	stripe.AnswerWith(answerKeys(secrets.add("ek_test_%s", "PlantedEphemeralKey")))
	if mobile := rig.MustRetry(t, client, mobileRequest(id)); !strings.Contains(mobile.GetEphemeralKeySecret(), "PlantedEphemeralKey") {
		t.Errorf("no ephemeral key came: %v", mobile)
	}
	stripe.AnswerWith(nil)
	sendCanaryWebhooks(t, &secrets, servers)
	makeCanaryCalls(t, &secrets, stripe, client, id, note)
	stripe.Do(stripe.Cancel, id)
	stripe.Tick()
	replaced := rig.MustRetry(t, client, &verificationv1.RetryVerificationRequest{
		SessionId: id, ReplaceClosed: true, ReturnUrl: "https://shop.example/back",
	})
	secrets.addLink(replaced.GetUrl(), replaced.GetClientSecret())
	stripe.AwaitDelivered()
	for _, e := range stripe.Events() {
		var body struct {
			Data struct {
				Object struct {
					URL          string `json:"url"`
					ClientSecret string `json:"client_secret"`
				} `json:"object"`
			} `json:"data"`
		}
		if err := json.Unmarshal(e.Body, &body); err != nil {
			t.Fatal(err)
		}
		secrets.addLink(body.Data.Object.URL, body.Data.Object.ClientSecret)
	}

	dump := dumpRedis(t, db.Addr, password)
	if !strings.Contains(dump, "The submission failed") {
		t.Errorf("the dump of Redis does not even show a reason: it proves nothing")
	}
	flags := rig.Launch(t, rig.Settings(db.Addr), "serve", "--stripe-api-key="+rig.APIKey, "--stripe-webhook-secret="+rolled, "--"+strings.Replace(redisURL, "REDIS_URL", "redis-url", 1))
	flags.AwaitListening()
	for _, server := range append(servers, flags) {
		texts = append(texts, adminPages(t, server)...)
	}
	for _, server := range append(servers, text, flags) {
		server.Signal(syscall.SIGTERM)
		if code := server.Exit(rig.Soon); code != 0 {
			t.Errorf("exit code %d", code)
		}
		log := server.Stderr.String()
		if !strings.Contains(log, "settings") || server == servers[0] && !strings.Contains(log, `"DEBUG"`) {
			t.Errorf("the log has no settings or no debug lines: it proves nothing:\n%s", rig.Tail(log))
		}
		secrets.wantAbsent(t, "the log", log+server.Stdout.String())
	}
	secrets.wantAbsent(t, "Redis", dump)
	secrets.wantAbsent(t, "an error or an admin page", strings.Join(texts, "\n"))
	t.Logf("looked for %d secrets", len(secrets.texts))
}

// sendCanaryWebhooks sends secrets in bodies and headers, signed and unsigned, well-formed and not.
func sendCanaryWebhooks(t *testing.T, secrets *secretCanaries, servers []*rig.Process) {
	t.Helper()
	client := rig.NewHTTPClient(t)
	object := rig.Fields{
		"url":           secrets.add("https://verify.stripe.com/start/%s", "PlantedEventUrl"),
		"client_secret": secrets.add("vs_Planted_secret_%s", "PlantedEventSecret"),
		"metadata":      rig.Fields{"note": secrets.add("vs_Planted_secret_%s", "PlantedMetadata")},
		"verified_outputs": rig.Fields{
			"first_name": secrets.add("%s", "PlantedFirstName"),
		},
		"last_error": rig.LastError("selfie_face_mismatch"), "last_verification_report": "vr_planted",
	}
	e := rig.NewEvent("evt_planted", "requires_input", "vs_Planted", time.Now().Unix()-100, nil, object)
	rig.Deliver(t, client, servers[0].Webhook, e)
	bad := strings.Replace(string(e.Body), `"status":"requires_input"`, `"status":7`, 1)
	signatures := []string{
		rig.Sign(time.Now(), rig.WebhookSecret, []byte(bad)), rig.Sign(time.Now(), "whsec_another", e.Body), rig.Sign(time.Now().Add(-time.Hour), rig.WebhookSecret, e.Body),
		"t=1,v1=" + secrets.add("whsec_%s", "PlantedSignature"), "", "Bearer " + rig.APIKey,
	}
	for _, body := range []string{bad, string(e.Body), bad[:len(bad)/2], secrets.add(`"sk_live_%s"`, "PlantedBody")} {
		for i, server := range servers {
			for _, signature := range append(signatures, rig.Sign(time.Now(), rig.WebhookSecret, []byte(body))) {
				response, answer, err := rig.Post(client, server.Webhook, signature, []byte(body))
				if err != nil {
					t.Fatal(err)
				}
				secrets.wantAbsent(t, fmt.Sprintf("the answer %s of server %d", response.Status, i), answer)
			}
		}
	}
	for _, path := range []string{"/webhook?key=" + rig.APIKey, "/" + rig.WebhookSecret} {
		response, answer, err := rig.Post(client, strings.TrimSuffix(servers[1].Webhook, "/webhook")+path, "", nil)
		if err != nil || response.StatusCode == http.StatusOK {
			t.Fatal(response, err)
		}
		secrets.wantAbsent(t, "the answer for a path", answer)
	}
}

const ephemeralKeysPath = "/v1/ephemeral_keys"

func mobileRequest(id string) *verificationv1.RetryVerificationRequest {
	return &verificationv1.RetryVerificationRequest{SessionId: id, EphemeralKeyVersion: "2026-09-30.endive"}
}

// answerKeys answers requests for ephemeral keys in Stripe's place, with this secret.
func answerKeys(secret string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return r.URL.Path == ephemeralKeysPath && answerLike(w, http.StatusOK, "req_1", `{"id":"ephkey_1","object":"ephemeral_key","secret":"`+secret+`"}`)
	}
}

// answerLike writes an answer with a text in its headers. It returns true.
func answerLike(w http.ResponseWriter, status int, header, body string) bool {
	w.Header().Set("Request-Id", header)
	w.Header().Set("Location", header)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
	return true
}

// makeCanaryCalls makes Stripe fail with secrets in its answers, and callers send some themselves.
func makeCanaryCalls(t *testing.T, secrets *secretCanaries, stripe *rig.FakeStripe, client verificationv1.VerificationServiceClient, id string, note func(error)) {
	t.Helper()
	message := secrets.add("sk_live_%s", "PlantedMessage") + " " + secrets.add("https://verify.stripe.com/start/%s", "PlantedErrorUrl")
	refusal, err := json.Marshal(rig.Fields{"error": rig.Fields{
		"type": "invalid_request_error", "code": "resource_weird", "message": message, "param": message, "doc_url": message,
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []struct {
		status int
		body   string
	}{
		{401, string(refusal)}, {403, string(refusal)}, {400, string(refusal)}, {402, string(refusal)}, {404, string(refusal)}, {409, string(refusal)},
		{429, string(refusal)}, {500, string(refusal)}, {503, message}, {200, message}, {200, `{"id":"` + message + `","status":"verified"}`},
		{302, ""}, {200, ""},
	} {
		stripe.AnswerWith(func(w http.ResponseWriter, _ *http.Request) bool {
			return answerLike(w, answer.status, message, answer.body)
		})
		_, err := rig.Retry(t, client, &verificationv1.RetryVerificationRequest{SessionId: id})
		if err == nil {
			t.Errorf("a retry succeeds although Stripe answers %d %s", answer.status, answer.body)
		}
		if answer.status == 401 {
			rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE)
		}
		note(err)
		_, err = client.GetStatus(rig.Within(t, rig.Soon), &verificationv1.GetStatusRequest{
			Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: fmt.Sprintf("vs_unknown%d", answer.status)},
		})
		note(err)
		stripe.AnswerWith(func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Path == ephemeralKeysPath && answerLike(w, answer.status, message, answer.body)
		})
		_, err = rig.Retry(t, client, mobileRequest(id))
		if err == nil {
			t.Errorf("a retry has a key although Stripe answers %d %s", answer.status, answer.body)
		}
		note(err)
	}
	stripe.AnswerWith(nil)
	for _, text := range []string{"vs_1_secret_" + rig.APIKey + "!", rig.WebhookSecret, message} {
		_, err := rig.Retry(t, client, &verificationv1.RetryVerificationRequest{SessionId: text})
		note(err)
		_, err = rig.Retry(t, client, &verificationv1.RetryVerificationRequest{SessionId: id, ReturnUrl: text})
		note(err)
		stream, err := client.WatchStatus(rig.Within(t, rig.Soon), rig.WatchSessionRequest(id, text))
		if err == nil {
			_, err = stream.Recv()
		}
		note(err)
	}
}
