package sse

import (
	"slices"
	"sync"
)

// limits bound the open streams of a Handler.
type limits struct{ user, address, all int }

// seats are the open streams, counted by user, by address and in all.
type seats struct {
	mu        sync.Mutex
	all       int
	users     map[string][]*seat // the oldest first
	addresses map[string]int
}

// seat is the place of one stream.
type seat struct {
	user, address string
	displaced     chan struct{} // closed when a newer stream of the user has taken the place
}

// take returns a seat, or nil if the address or the Handler has no free one. A user at their own limit
// always gets a seat: their oldest stream loses its own. The oldest is the one that most likely is dead: a
// phone that changed its network leaves a stream behind, and nothing tells the server.
func (s *seats) take(user, address string, most limits) *seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest *seat
	if open := s.users[user]; len(open) >= most.user {
		oldest = open[0]
	}
	all, there := s.all, s.addresses[address]
	if oldest != nil {
		all--
		if oldest.address == address {
			there--
		}
	}
	if all >= most.all || address != "" && there >= most.address {
		return nil
	}
	if oldest != nil {
		s.remove(oldest)
		close(oldest.displaced)
	}
	if s.users == nil {
		s.users, s.addresses = make(map[string][]*seat), make(map[string]int)
	}
	taken := &seat{user: user, address: address, displaced: make(chan struct{})}
	s.users[user] = append(s.users[user], taken)
	s.addresses[address]++
	s.all++
	return taken
}

// leave frees a seat. A seat that was taken over is free already.
func (s *seats) leave(left *seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(left)
}

func (s *seats) remove(left *seat) {
	open := s.users[left.user]
	i := slices.Index(open, left)
	if i < 0 {
		return
	}
	if s.users[left.user] = slices.Delete(open, i, i+1); len(open) == 1 {
		delete(s.users, left.user)
	}
	if s.addresses[left.address]--; s.addresses[left.address] == 0 {
		delete(s.addresses, left.address)
	}
	s.all--
}
