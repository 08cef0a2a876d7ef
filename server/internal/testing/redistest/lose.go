package redistest

import (
	"strconv"
	"strings"
)

// Keep notes all that a server holds now, without times to live. lose puts it back at one moment, while all
// connections stay, as a failover to a replica that was behind does where a proxy or a name hides it from
// the clients. What was blocked on a key stays blocked.
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
