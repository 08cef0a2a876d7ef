package stripeevent

import (
	"strconv"
	"testing"

	"example.com/verification-status/server/internal/verification"
)

// TestWords: a word is decoded as itself, and so is a text that begins with one.
func TestWords(t *testing.T) {
	for word, decoded := range words {
		for _, text := range []string{word, word + "x"} {
			if got := unquote([]byte(strconv.Quote(text))); got != text {
				t.Errorf("%q is decoded as %q", text, got)
			}
		}
		if word != decoded {
			t.Errorf("%q is decoded as %q", word, decoded)
		}
	}
	quoted := []byte(strconv.Quote(verification.EventRequiresInput))
	if n := testing.AllocsPerRun(100, func() { unquote(quoted) }); n != 0 {
		t.Errorf("an event type is decoded with %v allocations", n)
	}
}
