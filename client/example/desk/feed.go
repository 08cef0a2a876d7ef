package main

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"example.com/verification-status/client"
)

// feed tells the pages of the queue that something has changed. It watches all sessions while such a page is open: once for all pages
// whose calls have the same token, so each page depends on its own rights alone. Pages get no content from it: they load the lists
// again.
type feed struct {
	client *client.Client

	mu      sync.Mutex
	pages   []*livePage // the oldest first
	watches map[string]*watch
}

// livePage is an open stream of the queue.
type livePage struct {
	person
	beats chan beat // closed when the stream must end
	err   error     // why it must end; nil: the watch has ended. Set before beats is closed
}

// watch is the watch of the pages with one token.
type watch struct {
	end  context.CancelFunc
	done chan struct{} // closed when the watch has ended
}

// beat is what a page hears: something has changed, the service answers, or it does not.
type beat string

const (
	changedBeat beat = "changed"
	liveBeat    beat = "live"
	staleBeat   beat = "stale"
)

// maxPages bounds the open streams of the queue of one person, and maxPagesTotal those of all. At a bound the oldest one ends: it is the
// most likely to be dead. The numbers are those of sse.Handler.
const (
	maxPages      = 8
	maxPagesTotal = 5000
)

// join adds a page. Its channel is closed when the watch ends: the page comes back then.
func (f *feed) join(ctx context.Context) *livePage {
	f.mu.Lock()
	defer f.mu.Unlock()
	page := &livePage{person: personOf(ctx), beats: make(chan beat, 4)}
	own := func(other *livePage) bool { return other.name == page.name }
	if n := len(f.pages); n >= maxPagesTotal {
		f.close(f.pages[0], errTooManyPages)
	} else if f.count(own) >= maxPages {
		f.close(f.pages[slices.IndexFunc(f.pages, own)], errTooManyPages)
	}
	f.pages = append(f.pages, page)
	if f.watches == nil {
		f.watches = make(map[string]*watch)
	}
	if f.watches[page.token] == nil {
		watching, end := context.WithCancel(context.WithoutCancel(ctx)) // it keeps the person's token
		w := &watch{end, make(chan struct{})}
		f.watches[page.token] = w
		go f.watch(watching, w, page.person)
	}
	return page
}

func (f *feed) count(counts func(*livePage) bool) (n int) {
	for _, page := range f.pages {
		if counts(page) {
			n++
		}
	}
	return n
}

// close ends the stream of a page. The lock is held.
func (f *feed) close(page *livePage, err error) {
	page.err = err
	close(page.beats)
	f.pages = slices.DeleteFunc(f.pages, func(other *livePage) bool { return other == page })
}

// leave removes a page. The last one with a token ends the watch.
func (f *feed) leave(page *livePage) {
	f.mu.Lock()
	f.pages = slices.DeleteFunc(f.pages, func(other *livePage) bool { return other == page })
	w := f.watches[page.token]
	if w == nil || f.count(func(other *livePage) bool { return other.token == page.token }) > 0 {
		f.mu.Unlock()
		return
	}
	delete(f.watches, page.token)
	f.mu.Unlock()
	w.end()
	<-w.done
}

// heartbeat is the shortest one of the service. A page that hears nothing for three of them has lost its connection.
const heartbeat = 5 * time.Second

// watch watches with the rights of a person. It logs why it was interrupted, once until the service answers again.
func (f *feed) watch(ctx context.Context, w *watch, by person) {
	defer close(w.done)
	interrupted := false
	onInterruption := client.OnInterruption(func(err error, _ time.Duration) {
		if !interrupted {
			slog.WarnContext(ctx, "the live queue is interrupted", "person", by.name, "error", err)
		}
		interrupted = true
		f.tell(by.token, staleBeat)
	})
	for update, err := range f.client.WatchAll(ctx, client.Bookmarks(), client.Heartbeat(heartbeat), onInterruption) {
		switch {
		case err != nil:
			f.over(ctx, w, by, err)
			return
		case update.Verification != nil:
			f.tell(by.token, changedBeat)
		default:
			f.tell(by.token, liveBeat)
		}
		interrupted = false
	}
	f.over(ctx, w, by, nil)
}

// tell sends a beat to every page with a token. A page that reads slowly misses beats: the next one is as good.
func (f *feed) tell(token string, b beat) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, page := range f.pages {
		if page.token != token {
			continue
		}
		select {
		case page.beats <- b:
		default:
		}
	}
}

// over closes the pages of a watch that has ended, unless the last one has left.
func (f *feed) over(ctx context.Context, w *watch, by person, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watches[by.token] != w {
		return
	}
	if err != nil {
		slog.WarnContext(ctx, "the live queue has ended", "person", by.name, "error", err)
	}
	w.end()
	delete(f.watches, by.token)
	for _, page := range slices.Clone(f.pages) {
		if page.token == by.token {
			f.close(page, err)
		}
	}
}
