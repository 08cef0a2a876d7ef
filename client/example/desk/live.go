package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

const (
	// quietFor is the least time between two events of changes: a page loads four lists after each, and a busy service has a change of
	// some session at any time.
	quietFor = 10 * time.Second
	// writeFor bounds the write of an event to a browser that reads nothing.
	writeFor = 10 * time.Second
	// streamFor is the maximum age of a stream. The browser opens another one.
	streamFor = 5 * time.Minute
)

// liveQueue sends the beats of the feed as Server-Sent Events, until the browser leaves.
func (s *site) liveQueue(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), streamFor)
	defer cancel()
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // of nginx
	send := func(text string) bool {
		if out.SetWriteDeadline(time.Now().Add(writeFor)) != nil {
			return false
		}
		_, err := w.Write([]byte(text))
		return err == nil && out.Flush() == nil
	}
	page := s.feed.join(ctx)
	defer s.feed.leave(page)
	if !send("retry: 2000\n\n") {
		return
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	waiting, resting := false, false // a change waits to be sent; a change was sent just now
	begun := false                   // the watch has begun
	for {
		event := beat("")
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
			if resting = false; waiting {
				event = changedBeat
			}
		case b, open := <-page.beats:
			switch {
			case !open:
				send(s.ending(ctx, page.err))
				return
			case b == liveBeat && !begun: // what changed since the page was made, or since its last stream, is on no stream
				if begun = true; !send("event: changed\ndata: {}\n\n") {
					return
				}
				event = liveBeat
			case b == changedBeat && resting:
				waiting = true
			default:
				event = b
			}
		}
		if event == "" {
			continue
		}
		if event == changedBeat {
			waiting, resting = false, true
			pause.Reset(quietFor)
		}
		if !send("event: " + string(event) + "\ndata: {}\n\n") {
			return
		}
	}
}

var errTooManyPages = errors.New("too many live pages are open")

// ending returns the last event of a stream: it says why the page is not live, if the page must say so.
func (s *site) ending(ctx context.Context, err error) string {
	if err == nil {
		return "event: stale\ndata: {}\n\n"
	}
	says := "too many pages are open"
	if !errors.Is(err, errTooManyPages) {
		t := s.explain(ctx, err)
		says = lowerFirst(t.Title) + ". " + t.Advice
	}
	text, _ := json.Marshal(map[string]string{"says": says}) // a string always has a JSON form
	return "event: trouble\ndata: " + string(text) + "\n\n"
}
