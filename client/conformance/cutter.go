package main

import "sync"

// cutter cuts the connection at one update of all that pass.
type cutter struct {
	mu    sync.Mutex
	where string // before, in or after; "": nowhere
	left  int
	part  int // of the frame in a thousand
	fired chan struct{}
}

// arm cuts before, in or after the n-th update from now on. part says where, in thousandths of the frame. The channel closes
// when it is done.
func (c *cutter) arm(where string, n, part int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.where, c.left, c.part, c.fired = where, n, part, make(chan struct{})
	return c.fired
}

// of returns how much of the frame of an update passes, and whether the connection is cut then. It calls cutting before the
// channel of arm closes.
func (c *cutter) of(size int, cutting func()) (pass int, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.where == "" {
		return size, false
	}
	if c.left--; c.left > 0 {
		return size, false
	}
	where := c.where
	c.where = ""
	cutting()
	close(c.fired)
	switch where {
	case "before":
		return 0, true
	case "in":
		return 1 + (size-2)*c.part/1000, true
	}
	return size, true
}
