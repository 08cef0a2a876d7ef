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

// minSecret is the length, in bytes, of the shortest text that is concealed.
const minSecret = 6

// Secrets are the texts that the log never shows: the API key, the webhook secrets, the passwords of Redis and its Sentinels. A
// text is never removed: a secret that was replaced is still a secret. It is safe for concurrent use.
type Secrets struct {
	adding   sync.Mutex
	literals atomic.Pointer[[]string] // longest first, so that nothing of a longer secret remains
}

// NewSecrets returns a set of the texts; see Add.
func NewSecrets(texts ...string) *Secrets {
	var s Secrets
	s.literals.Store(new([]string))
	s.Add(texts...)
	return &s
}

// Add adds texts, also in the forms that they have within quotes and URLs. Add a secret before its first use. Texts under 6 bytes
// are ignored, because ordinary words contain them.
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

// escaped returns the text in the form that it has within quotes.
func escaped(text string) string {
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}
