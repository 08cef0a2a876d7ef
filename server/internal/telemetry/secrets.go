package telemetry

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// minSecret is the least length, in bytes, of a text that is concealed.
const minSecret = 6

// Secrets are texts that must never appear in the log: the API key, the webhook secrets, the passwords
// of Redis and its Sentinels. It is safe for concurrent use and only grows: what was a secret once is none the less one.
type Secrets struct {
	adding   sync.Mutex
	literals atomic.Pointer[[]string] // the longest first, so that no rest of a longer one remains
}

// NewSecrets makes a set; see Add.
func NewSecrets(texts ...string) *Secrets {
	var s Secrets
	s.literals.Store(new([]string))
	s.Add(texts...)
	return &s
}

// Add conceals further texts, also as they look quoted or within a URL, from its return on: add a
// secret before it is used. Texts under 6 bytes are ignored, since they would cut up ordinary words.
func (s *Secrets) Add(texts ...string) {
	s.adding.Lock()
	defer s.adding.Unlock()
	literals := slices.Clone(*s.literals.Load())
	for _, secret := range texts {
		if len(secret) < minSecret {
			continue
		}
		quoted := escaped(secret)
		for _, form := range []string{
			secret, quoted, escaped(quoted), url.QueryEscape(secret), url.PathEscape(secret),
			strings.TrimPrefix(url.UserPassword("", secret).String(), ":"),
		} {
			if !slices.Contains(literals, form) {
				literals = append(literals, form)
			}
		}
	}
	slices.SortStableFunc(literals, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	s.literals.Store(&literals)
}

// escaped is the text as it stands within quotes.
func escaped(text string) string {
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}
