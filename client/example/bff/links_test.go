package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// pressRig has a site in a bubble of testing/synctest, where synctest.Wait returns when all presses wait. The answers of
// verification-status and Stripe wait for open.
type pressRig struct {
	t       *testing.T
	backend *clienttest.Server
	people  *people
	handler http.Handler

	gate chan struct{}
	open func() // lets all calls resume, from now on

	mu    sync.Mutex
	calls map[string]int // by method; of Stripe: "Stripe"
}

// inBubble runs a test with a site. answer returns Stripe's answer to each of its calls, from 1.
func inBubble(t *testing.T, answer func(call int) string, test func(t *testing.T, w *pressRig)) {
	synctest.Test(t, func(t *testing.T) {
		w := &pressRig{t: t, gate: make(chan struct{}), calls: map[string]int{}}
		w.open = sync.OnceFunc(func() { close(w.gate) })
		t.Cleanup(w.open)
		w.backend = clienttest.NewVirtual(t, grpc.UnaryInterceptor(func(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			w.call(path.Base(info.FullMethod))
			return next(ctx, request)
		}))
		noRedirects.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(answer(w.call("Stripe"))))}, nil
		})
		defer func() { noRedirects.Transport = nil }()
		site, err := newSite(w.backend.Client(), settings{
			stripe: stripe{base: "http://stripe.test", key: "sk_test_1"}, publicURL: "http://site.test", cookieKey: []byte(cookieKey),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.people, w.handler = &site.people, site.handler()
		test(t, w)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// call counts a call, waits for open, and returns how many there have been.
func (w *pressRig) call(method string) int {
	w.mu.Lock()
	w.calls[method]++
	n := w.calls[method]
	w.mu.Unlock()
	<-w.gate
	return n
}

// wantCalls waits until nothing goes on any more.
func (w *pressRig) wantCalls(want map[string]int) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if fmt.Sprint(w.calls) != fmt.Sprint(want) {
		w.t.Errorf("calls: %v; want %v", w.calls, want)
	}
}

// known returns a person that began an hour ago, and whose session can be continued.
func (w *pressRig) known(session string) person {
	who := person{id: rand.Text(), issued: time.Now(), begun: time.Now().Add(-time.Hour)}
	w.backend.Set(&verificationv1.Verification{
		SessionId: session, ClientReferenceId: who.reference(), Status: verificationv1.Status_STATUS_REQUIRES_INPUT,
	})
	return who
}

// press presses the button, always at the same address. The answer comes once.
func (w *pressRig) press(ctx context.Context, who person) <-chan *http.Response {
	return w.pressAt(ctx, who, "192.0.2.1")
}

// pressAt presses the button at an address of the browser. The answer comes once.
func (w *pressRig) pressAt(ctx context.Context, who person, address string) <-chan *http.Response {
	cookies := httptest.NewRecorder()
	w.people.issue(cookies, who)
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://site.test/link", nil)
	request.RemoteAddr = address + ":443"
	request.Header.Set("Cookie", strings.SplitN(cookies.Header().Get("Set-Cookie"), ";", 2)[0])
	answered := make(chan *http.Response, 1)
	go func() {
		recorder := httptest.NewRecorder()
		w.handler.ServeHTTP(recorder, request)
		answered <- recorder.Result()
	}()
	return answered
}

// pressAll presses the button 100 times at once.
func (w *pressRig) pressAll(who person) (answers []<-chan *http.Response) {
	for range 100 {
		answers = append(answers, w.press(w.t.Context(), who))
	}
	synctest.Wait()
	return answers
}

// want checks an answer, and returns the person of its new cookie.
func (w *pressRig) want(answered <-chan *http.Response, status int, want string) person {
	w.t.Helper()
	response := <-answered
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != status || strings.TrimSpace(string(body)) != want {
		w.t.Fatalf("%s %s; want %d %s", response.Status, body, status, want)
	}
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, cookie := range response.Cookies() {
		request.AddCookie(cookie)
	}
	who, signedIn := w.people.who(request)
	if signedIn != (status == http.StatusOK) {
		w.t.Fatalf("%d with the cookies %v", status, response.Cookies())
	}
	return who
}

// TestPressesAtTheSameTimeShareALink, and cost the service as much as one. A later press is a new one.
func TestPressesAtTheSameTimeShareALink(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *pressRig) {
		who := w.known("vs_1")
		link := 0
		w.backend.OnRetry(func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
			link++
			return &verificationv1.RetryVerificationResponse{Url: fmt.Sprint("https://verify.stripe.test/", link)}, nil
		})
		answers := w.pressAll(who)
		w.open()
		for _, answered := range answers {
			if now := w.want(answered, http.StatusOK, `{"url":"https://verify.stripe.test/1"}`); now.id != who.id {
				t.Fatalf("the cookie is of %v; want %v", now, who)
			}
		}
		w.wantCalls(map[string]int{"GetStatus": 1, "RetryVerification": 1})
		w.want(w.press(t.Context(), who), http.StatusOK, `{"url":"https://verify.stripe.test/2"}`)
		w.wantCalls(map[string]int{"GetStatus": 2, "RetryVerification": 2})
	})
}

// TestAllPressesOfANewPersonBegin: each answer has the cookie of a person that has begun.
func TestAllPressesOfANewPersonBegin(t *testing.T) {
	stripe := func(call int) string { return fmt.Sprintf(`{"url":"https://verify.stripe.test/%d"}`, call) }
	inBubble(t, stripe, func(t *testing.T, w *pressRig) {
		answers := w.pressAll(person{id: rand.Text(), issued: time.Now()})
		w.open()
		for _, answered := range answers {
			if now := w.want(answered, http.StatusOK, `{"url":"https://verify.stripe.test/1"}`); !now.justBegan() {
				t.Fatalf("the cookie says %v; want a person that has just begun", now)
			}
		}
		w.wantCalls(map[string]int{"Stripe": 1})
	})
}

// TestAPressThatGivesUpLeavesTheOthersTheirLink, even the first one, with whose request the work began.
func TestAPressThatGivesUpLeavesTheOthersTheirLink(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *pressRig) {
		who := w.known("vs_1")
		ctx, leave := context.WithCancel(t.Context())
		first := w.press(ctx, who)
		synctest.Wait()
		second := w.press(t.Context(), who)
		synctest.Wait()
		leave()
		<-first // before verification-status answers
		w.open()
		w.want(second, http.StatusOK, `{"url":"https://verify.stripe.test/start/vs_1"}`)
		w.wantCalls(map[string]int{"GetStatus": 1, "RetryVerification": 1})
	})
}

// TestPeopleShareNoLink: the link leads to a session of one person.
func TestPeopleShareNoLink(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *pressRig) {
		w.backend.OnRetry(func(request *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
			return &verificationv1.RetryVerificationResponse{Url: "https://verify.stripe.test/" + request.GetSessionId()}, nil
		})
		ada, bob := w.press(t.Context(), w.known("vs_1")), w.press(t.Context(), w.known("vs_2"))
		synctest.Wait()
		w.open()
		w.want(ada, http.StatusOK, `{"url":"https://verify.stripe.test/vs_1"}`)
		w.want(bob, http.StatusOK, `{"url":"https://verify.stripe.test/vs_2"}`)
		w.wantCalls(map[string]int{"GetStatus": 2, "RetryVerification": 2})
	})
}

// TestASharedFailureIsLoggedOnce, also one that is a bug: it must not end the process, as a panic in a goroutine does.
func TestASharedFailureIsLoggedOnce(t *testing.T) {
	for name, stripe := range map[string]func(int) string{
		"refused by Stripe": func(int) string { return `{"error":{"message":"no"}}` },
		"panicked":          func(int) string { panic("panicked") },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			defer slog.SetDefault(slog.Default())
			slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
			inBubble(t, stripe, func(t *testing.T, w *pressRig) {
				answers := w.pressAll(person{id: rand.Text(), issued: time.Now()})
				w.open()
				for _, answered := range answers {
					w.want(answered, http.StatusServiceUnavailable, `{"problem":"UNAVAILABLE"}`)
				}
				w.wantCalls(map[string]int{"Stripe": 1})
			})
			if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "cannot create a link") {
				t.Errorf("the log is %s; want one line", &log)
			}
		})
	}
}
