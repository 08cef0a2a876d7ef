package webhook_test

import (
	"bytes"
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

// TestLargeBodiesAreBounded: in virtual time. While 32 bodies beyond 32 KiB arrive, a further one waits, and is refused with 413 after 4 s.
// A small one is taken at once. When one of the 32 has arrived, the next large one is taken.
func TestLargeBodiesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := bareHandler(t, &keeper{})
		post := func(body io.Reader) int {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, webhook.Path, body))
			return w.Code
		}
		large := strings.Repeat("x", 200<<10)
		var held sync.WaitGroup
		var ends []*io.PipeWriter
		for range 32 {
			body, end := io.Pipe()
			ends = append(ends, end)
			held.Go(func() { post(body) })
			if _, err := io.Copy(end, strings.NewReader(large)); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if code := post(strings.NewReader(large)); code != http.StatusRequestEntityTooLarge || time.Since(began) != 4*time.Second {
			t.Errorf("one large body too many: %d after %v; want 413 after 4s", code, time.Since(began))
		}
		began = time.Now()
		if code := post(bytes.NewReader([]byte("{}"))); code != http.StatusBadRequest || time.Since(began) != 0 {
			t.Errorf("a small body: %d after %v; want 400, as it is not signed, at once", code, time.Since(began))
		}
		time.AfterFunc(time.Second, func() { _ = ends[0].Close() })
		if code := post(strings.NewReader(large)); code != http.StatusBadRequest || time.Since(began) != time.Second {
			t.Errorf("a large body: %d after %v; want 400, as it is not signed, after 1s", code, time.Since(began))
		}
		for _, end := range ends {
			_ = end.Close()
		}
		held.Wait()
	})
}
