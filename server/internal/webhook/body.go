package webhook

import (
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// smallBody is how much of a body each request can take of the memory, in bytes. Anyone can send a body, and nothing is known of its
	// sender before it has arrived whole.
	smallBody = 32 << 10
	// largeBodies is how many requests can have more at the same time.
	largeBodies = 32
	// largeWait bounds the wait for the others. It leaves time for the rest of the body: net/http's limit is 10 s in all.
	largeWait = 4 * time.Second
)

// errLargeBodies means that too many bodies that are not small arrive at once. Stripe sends the event again.
var errLargeBodies = errors.New("webhook: too many large bodies arrive at once")

// readBody returns the body of a request. It returns a *http.MaxBytesError for a body over maxBody, and errLargeBodies.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limited := http.MaxBytesReader(w, r.Body, maxBody)
	body, err := io.ReadAll(io.LimitReader(limited, smallBody))
	if err != nil || len(body) < smallBody {
		return body, err
	}
	late := time.NewTimer(largeWait)
	defer late.Stop()
	select {
	case h.large <- struct{}{}:
		defer func() { <-h.large }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-late.C:
		w.Header().Set("Connection", "close") // the rest of the body is not read
		return nil, errLargeBodies
	}
	rest, err := io.ReadAll(limited)
	return append(body, rest...), err
}
