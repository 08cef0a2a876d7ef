package webhook

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// maxBody bounds a body, in bytes, before anything is computed from it. Bodies of Identity events are
	// usually below 2 KB. All the metadata that a session can have makes one larger than smallBody.
	maxBody = 256 << 10
	// smallBody is how much of a body each request can take of the memory, in bytes. Anyone can send a body, and nothing is known of its
	// sender before it has arrived whole.
	smallBody = 32 << 10
	// largeBodies is how many requests can have more at the same time.
	largeBodies = 32
	// largeWait bounds the wait for the others. It leaves time for the rest of the body: net/http's limit is 10 s in all.
	largeWait = 4 * time.Second
	// maxClaimed bounds the memory, in bytes, that a body gets before it is there: Content-Length is a claim of an unauthenticated
	// client.
	maxClaimed = 4 << 10
)

// errLargeBodies means that too many bodies that are not small arrive at once. Stripe sends the event again.
var errLargeBodies = errors.New("webhook: too many large bodies arrive at once")

// readBody returns the body of a request. It returns a *http.MaxBytesError for a body over maxBody, and errLargeBodies.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limited := http.MaxBytesReader(w, r.Body, maxBody)
	body, whole, err := readSmall(limited, r.ContentLength)
	if whole || err != nil {
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
		return nil, errLargeBodies
	}
	body, _, err = grow(limited, body, maxBody+1)
	return body, err
}

// readSmall reads less than smallBody bytes of a body, and holds no more memory for it. A body of the usual length is read into one piece.
// whole is false if there can be more.
func readSmall(from io.Reader, claimed int64) (body []byte, whole bool, err error) {
	body, whole, err = grow(from, nil, int(min(max(claimed, 0), maxClaimed))+bytes.MinRead)
	if whole || err != nil {
		return body, whole, err
	}
	return grow(from, body, smallBody)
}

// grow reads on until there are size bytes. whole is true if the body ended before.
func grow(from io.Reader, body []byte, size int) (grown []byte, whole bool, err error) {
	grown = make([]byte, size)
	n := copy(grown, body)
	for n < size && err == nil {
		var more int
		more, err = from.Read(grown[n:])
		n += more
	}
	if errors.Is(err, io.EOF) { // a body that broke off ends with another error
		return grown[:n], true, nil
	}
	return grown[:n], false, err
}
