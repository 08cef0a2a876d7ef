package stripesim

import (
	"slices"
	"sort"
)

// sessionList holds sessions in order of creation.
type sessionList struct{ all []*session }

// before returns how many sessions of the list were created before a moment.
func (l *sessionList) before(created int64, seq uint64) int {
	return sort.Search(len(l.all), func(i int) bool {
		other := l.all[i]
		return other.created > created || other.created == created && other.seq >= seq
	})
}

func (l *sessionList) insert(sess *session) {
	l.all = slices.Insert(l.all, l.before(sess.created, sess.seq), sess)
}

func (l *sessionList) remove(sess *session) {
	at := l.before(sess.created, sess.seq)
	l.all = slices.Delete(l.all, at, at+1)
}

// listsOf returns the lists that a session belongs to. The caller holds s.mu.
func (s *Sim) listsOf(sess *session) []*sessionList {
	lists := []*sessionList{listAt(s.realms, sess.realm)}
	if sess.reference != "" {
		lists = append(lists, listAt(s.refs, refKey{sess.realm, sess.reference}))
	}
	return lists
}

func listAt[K comparable](lists map[K]*sessionList, key K) *sessionList {
	if lists[key] == nil {
		lists[key] = &sessionList{}
	}
	return lists[key]
}
