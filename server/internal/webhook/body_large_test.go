package webhook_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/webhook"
)

// large is one byte more than a small body.
const large = 32<<10 + 1

// holdLarge begins 32 bodies beyond 32 KiB. Each of the functions completes one, and the last waits for the answers: call them all.
func holdLarge(t *testing.T, post func(body io.Reader)) (complete []func()) {
	t.Helper()
	var held sync.WaitGroup
	for range 32 {
		body, end := io.Pipe()
		complete = append(complete, func() { _ = end.Close() })
		held.Go(func() { post(body) })
		if _, err := io.WriteString(end, strings.Repeat("x", large)); err != nil {
			t.Fatal(err)
		}
	}
	return append(complete, held.Wait)
}

// TestLargeBodiesAreBounded: in virtual time. While 32 bodies beyond 32 KiB arrive, a further one waits, and is refused after 4 s: 429 with
// Retry-After, and the connection is closed. One of less than 32 KiB is taken at once. When one of the 32 has arrived, the next large one is taken.
func TestLargeBodiesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := make(chan webhook.Result, 100)
		handler := bareHandler(t, &keeper{}, func(c *webhook.Config) { c.Observe = func(r webhook.Result) { results <- r } })
		post := func(body io.Reader) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, webhook.Path, body))
			return w
		}
		held := holdLarge(t, func(body io.Reader) { post(body) })
		began := time.Now()
		got := post(strings.NewReader(strings.Repeat("x", large)))
		if got.Code != http.StatusTooManyRequests || time.Since(began) != 4*time.Second {
			t.Errorf("one large body too many: %d after %v; want 429 after 4s", got.Code, time.Since(began))
		}
		if result := <-results; result.Reason != webhook.ReasonLargeBodies {
			t.Errorf("its reason is %s, want %s", result.Reason, webhook.ReasonLargeBodies)
		}
		if got.Header().Get("Retry-After") == "" || got.Header().Get("Connection") != "close" || !strings.Contains(got.Body.String(), "too many large bodies") {
			t.Errorf("its answer: %v, %q; want Retry-After, Connection: close, and the reason", got.Header(), got.Body)
		}
		began = time.Now()
		if got := post(strings.NewReader(strings.Repeat("x", large-2))); got.Code != http.StatusBadRequest || time.Since(began) != 0 {
			t.Errorf("a small body: %d after %v; want 400, as it is not signed, at once", got.Code, time.Since(began))
		}
		time.AfterFunc(time.Second, held[0])
		if got := post(strings.NewReader(strings.Repeat("x", large))); got.Code != http.StatusBadRequest || time.Since(began) != time.Second {
			t.Errorf("a large body: %d after %v; want 400, as it is not signed, after 1s", got.Code, time.Since(began))
		}
		for _, complete := range held {
			complete()
		}
	})
}

// TestAClientThatLeavesDoesNotWait: in virtual time. The wait for a large body ends with its request.
func TestAClientThatLeavesDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := bareHandler(t, &keeper{})
		post := func(ctx context.Context, body io.Reader) {
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, webhook.Path, body))
		}
		held := holdLarge(t, func(body io.Reader) { post(t.Context(), body) })
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		began := time.Now()
		post(ctx, strings.NewReader(strings.Repeat("x", large)))
		if took := time.Since(began); took != time.Second {
			t.Errorf("the wait of a client that leaves after 1s took %v", took)
		}
		for _, complete := range held {
			complete()
		}
	})
}
