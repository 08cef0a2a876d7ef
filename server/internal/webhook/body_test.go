package webhook

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/iotest"
)

// TestReadBody reads bodies around each bound, of a stated and of an unstated length, as a whole and byte by byte.
func TestReadBody(t *testing.T) {
	h := &Handler{large: make(chan struct{}, 1)}
	for _, size := range []int{0, 1, bytes.MinRead, maxClaimed - 1, maxClaimed, maxClaimed + bytes.MinRead, smallBody - 1, smallBody, smallBody + 1, maxBody - 1, maxBody, maxBody + 1} {
		want := bytes.Repeat([]byte("body"), size/4+1)[:size]
		for _, claimed := range []int64{int64(size), -1} {
			for name, body := range map[string]io.Reader{"whole": bytes.NewReader(want), "byte by byte": iotest.OneByteReader(bytes.NewReader(want))} {
				r := httptest.NewRequest(http.MethodPost, Path, body)
				r.ContentLength = claimed
				got, err := h.readBody(httptest.NewRecorder(), r)
				tooLarge := (*http.MaxBytesError)(nil)
				switch {
				case size > maxBody && !errors.As(err, &tooLarge):
					t.Errorf("%d bytes, claimed %d, %s: %v", size, claimed, name, err)
				case size <= maxBody && (err != nil || !bytes.Equal(got, want)):
					t.Errorf("%d bytes, claimed %d, %s: got %d, %v", size, claimed, name, len(got), err)
				}
			}
		}
	}
}

// TestAClaimedLengthTakesNoMemory: anyone can claim a long body and send nothing.
func TestAClaimedLengthTakesNoMemory(t *testing.T) {
	h := &Handler{large: make(chan struct{}, 1)}
	r := httptest.NewRequest(http.MethodPost, Path, iotest.ErrReader(io.ErrUnexpectedEOF))
	r.ContentLength = maxBody
	got, err := h.readBody(httptest.NewRecorder(), r)
	if !errors.Is(err, io.ErrUnexpectedEOF) || cap(got) > 2*maxClaimed {
		t.Errorf("%d bytes of memory, %v", cap(got), err)
	}
}

// TestASmallBodyTakesLittleMemory: a body that stops short of 32 KiB, whatever length it claims, holds no more than that.
func TestASmallBodyTakesLittleMemory(t *testing.T) {
	for _, claimed := range []int64{-1, 1000, maxBody} {
		body, whole, err := readSmall(bytes.NewReader(make([]byte, smallBody-1)), claimed)
		if cap(body) > smallBody || len(body) != smallBody-1 || !whole || err != nil {
			t.Errorf("claimed %d: %d bytes in %d of memory, whole %t, %v; want %d in at most %d", claimed, len(body), cap(body), whole, err, smallBody-1, smallBody)
		}
	}
}
