package sse

import (
	"slices"
	"sync"
)

// limits are the limits of open streams.
type limits struct{ user, address, all int }

// slots are the open streams, by user, by address and in all.
type slots struct {
	mu        sync.Mutex
	all       int
	taken     uint64             // slots so far; numbers them
	users     map[string][]*slot // of each user, the oldest first
	addresses map[string]int
}

// slot is one open stream.
type slot struct {
	user, address string
	number        uint64        // a lower number is an older slot
	displaced     chan struct{} // closed when a newer stream has displaced this one
}

// take returns a slot for a new stream. At a limit it displaces an older stream: at the user's own limit the user's oldest one, at
// the limit of the address or of all the oldest one of the user with the most streams there (see most). So a person with many
// cookies cannot shut other users out.
//
// The oldest stream is the most likely to be dead: a phone that changes its network leaves a stream open, and the server does not
// notice.
func (s *slots) take(user, address string, limit limits) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if open := s.users[user]; len(open) >= limit.user {
		s.displace(open[0])
	}
	if address != "" && s.addresses[address] >= limit.address {
		s.displace(s.most(user, func(open *slot) bool { return open.address == address }))
	}
	if s.all >= limit.all {
		s.displace(s.most(user, func(*slot) bool { return true }))
	}
	if s.users == nil {
		s.users, s.addresses = make(map[string][]*slot), make(map[string]int)
	}
	s.taken++
	taken := &slot{user: user, address: address, number: s.taken, displaced: make(chan struct{})}
	s.users[user] = append(s.users[user], taken)
	s.addresses[address]++
	s.all++
	return taken
}

// most returns the oldest slot of the user with the most slots, among those for which counts returns true. If several users have
// equally many, it returns the oldest slot of all. The new stream of the newcomer counts too: it must not displace the stream of
// a user that has fewer. counts must return true for at least one slot.
func (s *slots) most(newcomer string, counts func(*slot) bool) *slot {
	var found *slot
	greatest := 0
	for user, open := range s.users {
		var oldest *slot
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

func (s *slots) displace(open *slot) {
	s.remove(open)
	close(open.displaced)
}

// leave frees a slot. It does nothing for a slot that was displaced.
func (s *slots) leave(left *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(left)
}

func (s *slots) remove(left *slot) {
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
