package sse

import "sync"

// users counts the open streams of each user.
type users struct {
	mu   sync.Mutex
	open map[string]int
}

// enter returns false if the user has as many streams as they get.
func (u *users) enter(user string, limit int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open[user] >= limit {
		return false
	}
	if u.open == nil {
		u.open = make(map[string]int)
	}
	u.open[user]++
	return true
}

func (u *users) leave(user string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open[user]--; u.open[user] == 0 {
		delete(u.open, user)
	}
}
