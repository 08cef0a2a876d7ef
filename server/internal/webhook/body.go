package webhook

import (
	"bytes"
	"net/http"
)

const (
	// maxBody bounds a body, in bytes, before anything is computed from it. Bodies of Identity events are below 2 KB.
	maxBody = 256 << 10
	// maxClaimed bounds the memory, in bytes, that a body gets before it is there: Content-Length is a claim of an unauthenticated
	// client.
	maxClaimed = 4 << 10
)

// readBody reads the body of a request. It returns a *http.MaxBytesError if the body is longer than maxBody. A body of the usual length
// is read into one piece of memory.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	var body bytes.Buffer
	body.Grow(int(min(max(r.ContentLength, 0), maxClaimed)) + bytes.MinRead)
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	return body.Bytes(), err
}
