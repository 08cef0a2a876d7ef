package checker

import (
	"slices"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// client is a watch with the service's cursor of it.
type client struct {
	*Watch
	id      string // empty: all sessions
	until   bool
	open    bool
	done    bool
	token   string // of the newest response handled
	cursors map[string]clientCursor
}

// clientCursor is the content of a token.
type clientCursor struct {
	revision    int32
	fingerprint uint32
	epoch       int
	seqs        [partitions]int
	nonces      [partitions]int
}

func (w *world) watchesMore(id string) {
	c := &client{id: id, until: w.draw(2) == 0, cursors: map[string]clientCursor{"": {}}}
	request := &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: id}, UntilSettled: c.until}
	if w.draw(2) == 0 {
		c.id, c.until = "", false
		request = &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{}}
	}
	c.Watch = w.Watch(request)
	w.watches = append(w.watches, c)
}

func (c *client) cut(w *world) {
	if c.open && w.draw(2) == 0 {
		c.Ended(errUnavailable)
		c.open = false
	}
}

// look opens the stream where it is not, and handles some of what there is. false: there was nothing.
func (c *client) look(w *world) (more bool) {
	if c.done {
		return false
	}
	opening := !c.open
	if opening {
		c.Opened(c.token)
		c.open = true
	}
	if c.id == "" {
		return c.lookAll(w, opening)
	}
	return c.lookOne(w)
}

// respond gives a response, unless the client is cut off before it handles it.
func (c *client) respond(w *world, v *verificationv1.Verification, p clientCursor) bool {
	if w.draw(8) == 0 {
		c.Ended(errUnavailable)
		c.open = false
		return false
	}
	c.token = w.name("token")
	c.cursors[c.token] = p
	c.Response(&verificationv1.WatchStatusResponse{Verification: v, ResumeToken: c.token})
	return true
}

func (c *client) lost() bool {
	c.Ended(errOutOfRange)
	c.open, c.token = false, ""
	return true
}

func (c *client) lookOne(w *world) bool {
	p, record := c.cursors[c.token], w.records[c.id]
	if c.token == "" && !record.Exists() {
		record = w.reread(c.id)
	}
	changes := record.ChangesAfter(p.revision)
	if c.token == "" {
		changes = []verification.Change{record.Current()}
	} else if fingerprint, known := record.Fingerprint(p.revision); record.Revision < p.revision || known && fingerprint != p.fingerprint && w.flaw != "fingerprints are ignored" {
		return c.lost()
	}
	for n, change := range changes {
		if w.flaw == "a change is skipped" && n < len(changes)-1 {
			continue
		}
		fingerprint, _ := record.Fingerprint(change.Revision)
		if !c.respond(w, w.shown(record, change), clientCursor{revision: change.Revision, fingerprint: fingerprint}) {
			return true
		}
	}
	wasSettled := slices.ContainsFunc(record.ChangesAfter(0), func(past verification.Change) bool { return past.State.Settled() })
	if c.until && (record.Settled() || wasSettled && w.flaw == "until_settled looks at the past") {
		c.Ended(nil)
		c.done = true
	}
	return len(changes) > 0
}

func (c *client) lookAll(w *world, opening bool) bool {
	p := c.cursors[c.token]
	if c.token == "" && opening {
		p.epoch = w.epoch
		for i, feed := range w.feeds {
			if p.seqs[i] = len(feed.entries); p.seqs[i] > 0 {
				p.nonces[i] = feed.entries[p.seqs[i]-1].nonce
			}
		}
	}
	for i, feed := range w.feeds {
		if w.flaw == "the feed's nonces are ignored" {
			p.seqs[i] = min(p.seqs[i], len(feed.entries))
			continue
		}
		if p.epoch != w.epoch || p.seqs[i] > len(feed.entries) || p.seqs[i] > 0 && feed.entries[p.seqs[i]-1].nonce != p.nonces[i] {
			return c.lost()
		}
	}
	switch {
	case opening && w.flaw == "the bookmark is left out":
		c.cursors[c.token] = p
	case opening && !c.respond(w, nil, p):
		return true
	}
	responded := opening
	for i := range w.feeds {
		for _, entry := range w.feeds[i].entries[p.seqs[i]:] {
			p.seqs[i], p.nonces[i] = p.seqs[i]+1, entry.nonce
			record := w.records[entry.id]
			changes := record.ChangesAfter(entry.revision - 1)
			if changes[0].Revision != entry.revision {
				continue // collapsed
			}
			responded = true
			if !c.respond(w, w.shown(record, changes[0]), p) {
				return true
			}
		}
	}
	return responded
}
