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
	taken     uint64             // so far; it numbers the seats
	users     map[string][]*seat // the oldest first
	addresses map[string]int
}

// seat is the place of one stream.
type seat struct {
	user, address string
	number        uint64        // a lower number is an older seat
	displaced     chan struct{} // closed when a newer stream has taken the place
}

// take returns a seat. It refuses nobody: at a limit an older stream loses its seat. A user at their own limit
// always gets a seat: their oldest stream loses its own. At the limit of an address, or of all, the user with
// the most streams there loses their oldest one; see most. So a person with many cookies cannot shut other
// users out for good.
//
// The oldest stream is the one that most likely is dead: a phone that changed its network leaves a stream
// behind, and nothing tells the server.
func (s *seats) take(user, address string, limit limits) *seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if open := s.users[user]; len(open) >= limit.user {
		s.displace(open[0])
	}
	if address != "" && s.addresses[address] >= limit.address {
		s.displace(s.most(user, func(open *seat) bool { return open.address == address }))
	}
	if s.all >= limit.all {
		s.displace(s.most(user, func(*seat) bool { return true }))
	}
	if s.users == nil {
		s.users, s.addresses = make(map[string][]*seat), make(map[string]int)
	}
	s.taken++
	taken := &seat{user: user, address: address, number: s.taken, displaced: make(chan struct{})}
	s.users[user] = append(s.users[user], taken)
	s.addresses[address]++
	s.all++
	return taken
}

// most returns the oldest of the seats that count, of the user with the most of them. Of users with equally many
// it is the one with the oldest seat. The newcomer's new stream counts too: it must not displace a user who has
// fewer streams than the newcomer will have. At least one seat must count.
func (s *seats) most(newcomer string, counts func(*seat) bool) *seat {
	var found *seat
	greatest := 0
	for user, open := range s.users {
		var oldest *seat
		n := 0
		for _, each := range open {
			if !counts(each) {
				continue
			}
			if n++; oldest == nil {
				oldest = each
			}
		}
		if user == newcomer {
			n++
		}
		if oldest != nil && (n > greatest || n == greatest && oldest.number < found.number) {
			found, greatest = oldest, n
		}
	}
	return found
}

func (s *seats) displace(open *seat) {
	s.remove(open)
	close(open.displaced)
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
