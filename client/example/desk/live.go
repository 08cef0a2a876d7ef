package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"example.com/verification-status/client"
)

// feed tells the pages of the queue that something has changed. It watches all sessions while such a page is open: once for all pages,
// with the rights of the person that came first. Pages get no content from it: they load the lists again, with their own rights.
type feed struct {
	client *client.Client

	mu    sync.Mutex
	pages map[chan beat]struct{}
	end   context.CancelFunc // ends the watch; nil: there is none
	done  chan struct{}      // closed when the watch has ended
}

// beat is what a page hears: something has changed, the service answers, or it does not.
type beat string

const (
	changedBeat beat = "changed"
	liveBeat    beat = "live"
	staleBeat   beat = "stale"
)

// join adds a page. The channel is closed when the watch ends: the page comes back then.
func (f *feed) join(ctx context.Context) <-chan beat {
	f.mu.Lock()
	defer f.mu.Unlock()
	page := make(chan beat, 4)
	if f.pages == nil {
		f.pages = make(map[chan beat]struct{})
	}
	f.pages[page] = struct{}{}
	if f.end == nil {
		watching, end := context.WithCancel(context.WithoutCancel(ctx)) // it keeps the person's token
		f.end, f.done = end, make(chan struct{})
		go f.watch(watching, f.done)
	}
	return page
}

// leave removes a page. The last one ends the watch.
func (f *feed) leave(page <-chan beat) {
	f.mu.Lock()
	for each := range f.pages {
		if each == page {
			delete(f.pages, each)
		}
	}
	if len(f.pages) > 0 || f.end == nil {
		f.mu.Unlock()
		return
	}
	end, done := f.end, f.done
	f.end = nil
	f.mu.Unlock()
	end()
	<-done
}

// heartbeat is the shortest one of the service. A page that hears nothing for three of them has lost its connection.
const heartbeat = 5 * time.Second

func (f *feed) watch(ctx context.Context, done chan struct{}) {
	defer close(done)
	interrupted := client.OnInterruption(func(error, time.Duration) { f.tell(staleBeat) })
	for update, err := range f.client.WatchAll(ctx, client.Bookmarks(), client.Heartbeat(heartbeat), interrupted) {
		switch {
		case err != nil:
			f.over(done)
			return
		case update.Verification != nil:
			f.tell(changedBeat)
		default:
			f.tell(liveBeat)
		}
	}
	f.over(done)
}

// tell sends a beat to every page. A page that reads slowly misses beats: the next one is as good.
func (f *feed) tell(b beat) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for page := range f.pages {
		select {
		case page <- b:
		default:
		}
	}
}

// over closes the pages of a watch that has ended, unless another watch has begun since.
func (f *feed) over(done chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done != done || f.end == nil {
		return
	}
	f.end()
	f.end = nil
	for page := range f.pages {
		close(page)
		delete(f.pages, page)
	}
}

const (
	// quietFor is the least time between two events of changes: a page loads four lists after each.
	quietFor = 2 * time.Second
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
	beats := s.feed.join(ctx)
	defer s.feed.leave(beats)
	if !send("retry: 2000\n\n") {
		return
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	waiting, resting := false, false // a change waits to be sent; a change was sent just now
	for {
		event := beat("")
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
			if resting = false; waiting {
				event = changedBeat
			}
		case b, open := <-beats:
			switch {
			case !open:
				send("event: stale\ndata: {}\n\n")
				return
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
