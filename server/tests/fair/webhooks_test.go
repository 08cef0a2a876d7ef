package fair

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// sign is Stripe's scheme (docs.stripe.com/webhooks#verify-manually), by this machine's clock.
func sign(body []byte) string {
	now := time.Now().Unix()
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	fmt.Fprintf(mac, "%d.%s", now, body)
	return fmt.Sprintf("t=%d,v1=%x", now, mac.Sum(nil))
}

// forward brings a webhook to the server, and measures the answer.
func (s *stripe) forward(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var event struct {
		Data struct{ Object struct{ ID string } }
	}
	_ = json.Unmarshal(body, &event)
	id := event.Data.Object.ID
	s.mu.Lock()
	to, held := s.webhook, s.held
	limited, isPartial := s.partial[id]
	arrived := s.taken[id]
	s.mu.Unlock()
	if isPartial {
		held = limited.gate
		if arrived >= limited.count {
			return
		}
	}
	if held != nil {
		select {
		case <-held:
		case <-r.Context().Done():
			return
		}
	}
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, to, strings.NewReader(string(body)))
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	request.Header = r.Header.Clone()
	request.Header.Set("Stripe-Signature", sign(body))
	began := time.Now()
	response, err := forwarding.Do(request)
	if err != nil {
		s.webhooks.add(time.Since(began), err)
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	s.webhooks.add(time.Since(began), wantStatus(response, http.StatusOK))
	if response.StatusCode == http.StatusOK {
		s.mu.Lock()
		s.taken[id]++
		s.mu.Unlock()
	}
	w.WriteHeader(response.StatusCode)
}

// sendTo sets the server that gets the webhooks.
func (s *stripe) sendTo(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhook = url
}

// hold keeps webhooks back until release is called.
func (s *stripe) hold() (release func()) {
	held := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = held
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held = nil
		close(held)
	})
}

// only lets the first webhooks of a session arrive, and no later one, when release is called.
func (s *stripe) only(id string, count int) (release func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partial[id] = part{count, gate}
	return func() { close(gate) }
}

// awaitTaken waits until the server has taken so many webhooks of a session.
func (s *stripe) awaitTaken(ctx context.Context, id string, count int) error {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		s.mu.Lock()
		taken := s.taken[id]
		s.mu.Unlock()
		if taken >= count {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
