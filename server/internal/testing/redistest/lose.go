package redistest

import (
	"strconv"
	"strings"
)

// Keep copies everything that a server holds now, without times to live. lose restores the copy in one step while all
// connections stay open. That is what a failover to a replica that lagged behind does if a proxy or a DNS name hides it from
// the clients. A client that is blocked on a key stays blocked.
func (s *Server) Keep() (lose func()) {
	s.t.Helper()
	var keys, dumps []string
	for key := range strings.SplitSeq(s.MustAsk("KEYS", "*"), "\n") {
		if key != "" {
			keys, dumps = append(keys, key), append(dumps, s.MustAsk("DUMP", key))
		}
	}
	const script = `
for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('DEL', key) end
for i, key in ipairs(KEYS) do redis.call('RESTORE', key, '0', ARGV[i]) end`
	command := append([]string{"EVAL", script, strconv.Itoa(len(keys))}, keys...)
	return func() {
		s.t.Helper()
		s.MustAsk(append(command, dumps...)...)
	}
}
