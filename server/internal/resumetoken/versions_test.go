package resumetoken_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/resumetoken"
)

// Tokens outlive an update: this version gets tokens of other versions, and during a rolling update an older version gets
// tokens of this one. So every version reads a token of each kind as the first version wrote it. A new layout needs a new
// number, which older versions refuse.
func TestTokensOfEarlierVersionsAreRead(t *testing.T) {
	at := resumetoken.Session{ID: "vs_1", Revision: 3, Fingerprint: 0xdeadbeef}
	feed := []resumetoken.Position{{Epoch: 1, Seq: 300, Nonce: 2}, {}}
	cursor := resumetoken.Cursor{Second: 1_700_000_000, ID: "vs_1"}
	tokens := map[string]string{
		"session": resumetoken.EncodeSession(at), "reference": resumetoken.EncodeReference("user-42", at),
		"feed": resumetoken.EncodeFeed(feed), "list": resumetoken.EncodeList("status 1", cursor),
		"consumer": resumetoken.EncodeConsumer("mailer", 7, feed),
	}
	first := map[string]string{
		"session": "AQED3q2-73ZzXzG396W0", "reference": "AQJtiUqj7oAlSdfzQOfBzw0cA96tvu92c18xn2FZUw",
		"feed": "AQMCAAAAAAAAAAGsAgAAAAAAAAACAAAAAAAAAAAAAAAAAAAAAAAut5Cl", "list": "AQTZtqRHCT2fRd_Ltx0BSf4_gMSf1Qx2c18xt5RGAQ",
		"consumer": "AQUuQzC4BkEiW9PhvnOe35UyAAAAAAAAAAcCAAAAAAAAAAGsAgAAAAAAAAACAAAAAAAAAAAAAAAAAAAAAABRQsWD",
	}
	if diff := cmp.Diff(first, tokens); diff != "" {
		t.Errorf("tokens are written otherwise (-first +now):\n%s", diff)
	}
	if got, err := resumetoken.DecodeSession(first["session"], "vs_1"); err != nil || got != at {
		t.Errorf("session: got %v, %v; want %v", got, err, at)
	}
	if got, err := resumetoken.DecodeReference(first["reference"], "user-42"); err != nil || got != at {
		t.Errorf("reference: got %v, %v; want %v", got, err, at)
	}
	if got, err := resumetoken.DecodeFeed(first["feed"], 2); err != nil || !cmp.Equal(got, feed) {
		t.Errorf("feed: got %v, %v; want %v", got, err, feed)
	}
	if got, err := resumetoken.DecodeConsumer(first["consumer"], "mailer", 7, 2); err != nil || !cmp.Equal(got, feed) {
		t.Errorf("consumer: got %v, %v; want %v", got, err, feed)
	}
	if got, err := resumetoken.DecodeList(first["list"], "status 1"); err != nil || got != cursor {
		t.Errorf("list: got %v, %v; want %v", got, err, cursor)
	}
}
