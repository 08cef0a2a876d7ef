package resumetoken_test

import (
	"encoding/base64"
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/verification-status/server/internal/resumetoken"
)

var urlSafe = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func anySession() *rapid.Generator[resumetoken.Session] {
	return rapid.Custom(func(t *rapid.T) resumetoken.Session {
		return resumetoken.Session{
			ID:          "vs_" + rapid.StringMatching(`[A-Za-z0-9_]{1,252}`).Draw(t, "id"),
			Revision:    rapid.Int32Min(0).Draw(t, "revision"),
			Fingerprint: rapid.Uint32().Draw(t, "fingerprint"),
		}
	})
}

func TestG7_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := anySession().Draw(t, "at")
		token := resumetoken.EncodeSession(at)
		got, err := resumetoken.DecodeSession(token, at.ID)
		if err != nil || got != at || !urlSafe.MatchString(token) || len(token) > resumetoken.MaxLength {
			t.Fatalf("session: %q gave %v, %v; want %v", token, got, err, at)
		}

		reference := rapid.StringN(1, 255, 255).Draw(t, "reference")
		token = resumetoken.EncodeReference(reference, at)
		got, err = resumetoken.DecodeReference(token, reference)
		if err != nil || got != at || !urlSafe.MatchString(token) || len(token) > resumetoken.MaxLength {
			t.Fatalf("reference: %q gave %v, %v; want %v", token, got, err, at)
		}

		cursor := resumetoken.Cursor{Second: rapid.Int64().Draw(t, "second"), ID: at.ID}
		token = resumetoken.EncodeList(reference, cursor)
		gotCursor, err := resumetoken.DecodeList(token, reference)
		if err != nil || gotCursor != cursor || !urlSafe.MatchString(token) || len(token) > resumetoken.MaxLength {
			t.Fatalf("list: %q gave %v, %v; want %v", token, gotCursor, err, cursor)
		}

		positions := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) resumetoken.Position {
			return resumetoken.Position{
				Epoch: rapid.Uint64().Draw(t, "epoch"), Seq: rapid.Uint64().Draw(t, "seq"), Nonce: rapid.Uint64().Draw(t, "nonce"),
			}
		}), 1, 16).Draw(t, "positions")
		token = resumetoken.EncodeFeed(positions)
		decoded, err := resumetoken.DecodeFeed(token, len(positions))
		if err != nil || !cmp.Equal(decoded, positions) || !urlSafe.MatchString(token) || len(token) > resumetoken.MaxLength {
			t.Fatalf("feed: %q gave %v, %v; want %v", token, decoded, err, positions)
		}

		name := rapid.StringMatching(`[a-z][a-z0-9_.-]{0,63}`).Draw(t, "name")
		incarnation := rapid.Uint64Min(1).Draw(t, "incarnation")
		token = resumetoken.EncodeConsumer(name, incarnation, positions)
		decoded, err = resumetoken.DecodeConsumer(token, name, incarnation, len(positions))
		if err != nil || !cmp.Equal(decoded, positions) || !urlSafe.MatchString(token) || len(token) > resumetoken.MaxLength {
			t.Fatalf("consumer: %q gave %v, %v; want %v", token, decoded, err, positions)
		}
	})
}

func TestG7_ForeignTokensAreInvalid(t *testing.T) {
	at := resumetoken.Session{ID: "vs_a", Revision: 3, Fingerprint: 7}
	session, reference := resumetoken.EncodeSession(at), resumetoken.EncodeReference("r", at)
	feed := resumetoken.EncodeFeed(make([]resumetoken.Position, 16))
	decodeSession := func(token string) error { _, err := resumetoken.DecodeSession(token, "vs_a"); return err }
	decodeReference := func(token string) error { _, err := resumetoken.DecodeReference(token, "r"); return err }
	list := resumetoken.EncodeList("r", resumetoken.Cursor{Second: 3, ID: "vs_a"})
	decodeList := func(token, filter string) error { _, err := resumetoken.DecodeList(token, filter); return err }
	if err := decodeList(list, "r"); err != nil {
		t.Errorf("its own list: %v", err)
	}
	decodeFeed := func(token string) error { _, err := resumetoken.DecodeFeed(token, 16); return err }
	consumer := resumetoken.EncodeConsumer("mailer", 7, make([]resumetoken.Position, 16))
	decodeConsumer := func(token, name string, incarnation uint64, partitions int) error {
		_, err := resumetoken.DecodeConsumer(token, name, incarnation, partitions)
		return err
	}
	if err := decodeConsumer(consumer, "mailer", 7, 16); err != nil || !resumetoken.IsConsumer(consumer) {
		t.Errorf("its own consumer: %v", err)
	}
	if err := decodeConsumer(consumer, "mailer", 8, 16); !errors.Is(err, resumetoken.ErrOtherIncarnation) || errors.Is(err, resumetoken.ErrInvalid) {
		t.Errorf("a token of another incarnation: %v, want ErrOtherIncarnation alone", err)
	}
	for name, token := range map[string]string{"session": session, "reference": reference, "feed": feed, "list": list, "empty": "", "words": "now"} {
		if resumetoken.IsConsumer(token) {
			t.Errorf("%s: IsConsumer is true", name)
		}
	}
	for name, err := range map[string]error{
		"another session":         func() error { _, err := resumetoken.DecodeSession(session, "vs_b"); return err }(),
		"another reference":       func() error { _, err := resumetoken.DecodeReference(reference, "s"); return err }(),
		"another partition count": func() error { _, err := resumetoken.DecodeFeed(feed, 15); return err }(),
		"reference for session":   decodeSession(reference),
		"feed for session":        decodeSession(feed),
		"session for reference":   decodeReference(session),
		"session for feed":        decodeFeed(session),
		"another list":            decodeList(list, "s"),
		"list for session":        decodeSession(list),
		"list for reference":      decodeReference(list),
		"reference for list":      decodeList(reference, "r"),
		"feed for list":           decodeList(feed, "r"),
		"empty list":              decodeList("", "r"),
		"no id":                   decodeList(resumetoken.EncodeList("r", resumetoken.Cursor{Second: 3}), "r"),
		"too long an id":          decodeList(resumetoken.EncodeList("r", resumetoken.Cursor{ID: strings.Repeat("x", 256)}), "r"),
		"another consumer":        decodeConsumer(consumer, "mailer2", 7, 16),
		"fewer partitions":        decodeConsumer(consumer, "mailer", 7, 15),
		"fewer, and older":        decodeConsumer(consumer, "mailer", 8, 15),
		"another, and older":      decodeConsumer(consumer, "mailer2", 8, 16),
		"consumer for feed":       decodeFeed(consumer),
		"feed for consumer":       decodeConsumer(feed, "mailer", 7, 16),
		"list for consumer":       decodeConsumer(list, "mailer", 7, 16),
		"session for consumer":    decodeConsumer(session, "mailer", 7, 16),
		"reference for consumer":  decodeConsumer(reference, "mailer", 7, 16),
		"empty for consumer":      decodeConsumer("", "mailer", 7, 16),
		"empty":                   decodeSession(""),
		"words":                   decodeSession("now"),
		"padding":                 decodeSession(session + "="),
		"a newline":               decodeSession(session[:4] + "\n" + session[4:]),
		"too long":                decodeSession(strings.Repeat("A", resumetoken.MaxLength+1)),
	} {
		if !errors.Is(err, resumetoken.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// TestTheLongestTokenOfAConsumer: it has 16 partitions, the longest name and the greatest numbers.
func TestTheLongestTokenOfAConsumer(t *testing.T) {
	positions := make([]resumetoken.Position, 16)
	for i := range positions {
		positions[i] = resumetoken.Position{Epoch: math.MaxUint64, Seq: math.MaxUint64, Nonce: math.MaxUint64}
	}
	name := strings.Repeat("z", 64)
	token := resumetoken.EncodeConsumer(name, math.MaxUint64, positions)
	got, err := resumetoken.DecodeConsumer(token, name, math.MaxUint64, len(positions))
	if err != nil || !cmp.Equal(got, positions) || len(token) > resumetoken.MaxLength {
		t.Errorf("a token of %d characters is read as %v, %v; want at most %d characters and %v", len(token), got, err, resumetoken.MaxLength, positions)
	}
}

// A client reference can be personal, and tokens are in URLs and logs.
func TestReferenceIsNotInTheToken(t *testing.T) {
	const reference = "jane.doe@example.org"
	token := resumetoken.EncodeReference(reference, resumetoken.Session{ID: "vs_a", Revision: 1})
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || strings.Contains(string(raw), "jane") {
		t.Fatalf("the token shows its reference: %q, %v", raw, err)
	}
	raw, err = base64.RawURLEncoding.DecodeString(resumetoken.EncodeList(reference, resumetoken.Cursor{ID: "vs_a"}))
	if err != nil || strings.Contains(string(raw), "jane") {
		t.Fatalf("the list's token shows its reference: %q, %v", raw, err)
	}
}

// Every change of one character and every cut is refused.
func TestG7_GarbledTokensAreInvalid(t *testing.T) {
	token := resumetoken.EncodeReference("r", resumetoken.Session{ID: "vs_1UEDLcDgSL5WTGpmif87HEZ7", Revision: 300, Fingerprint: 1 << 31})
	for i := range token {
		for _, c := range "AZaz09-_" {
			garbled := token[:i] + string(c) + token[i+1:]
			if garbled == token {
				continue
			}
			if got, err := resumetoken.DecodeReference(garbled, "r"); !errors.Is(err, resumetoken.ErrInvalid) {
				t.Fatalf("%q at %d: %v, %v", c, i, got, err)
			}
		}
		if got, err := resumetoken.DecodeReference(token[:i], "r"); !errors.Is(err, resumetoken.ErrInvalid) {
			t.Fatalf("cut at %d: %v, %v", i, got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	at := resumetoken.Session{ID: "vs_a", Revision: 3, Fingerprint: 7}
	f.Add(resumetoken.EncodeSession(at))
	f.Add(resumetoken.EncodeReference("r", at))
	f.Add(resumetoken.EncodeFeed(make([]resumetoken.Position, 16)))
	f.Add(resumetoken.EncodeList("r", resumetoken.Cursor{Second: -3, ID: "vs_a"}))
	f.Add(resumetoken.EncodeConsumer("mailer", 7, make([]resumetoken.Position, 16)))
	f.Fuzz(func(t *testing.T, token string) {
		// What decodes must encode to the very same token: there is one spelling of each.
		if got, err := resumetoken.DecodeSession(token, "vs_a"); err == nil && resumetoken.EncodeSession(got) != token {
			t.Fatalf("%q has another spelling", token)
		}
		if got, err := resumetoken.DecodeReference(token, "r"); err == nil && resumetoken.EncodeReference("r", got) != token {
			t.Fatalf("%q has another spelling", token)
		}
		if got, err := resumetoken.DecodeFeed(token, 16); err == nil && resumetoken.EncodeFeed(got) != token {
			t.Fatalf("%q has another spelling", token)
		}
		if got, err := resumetoken.DecodeConsumer(token, "mailer", 7, 16); err == nil && resumetoken.EncodeConsumer("mailer", 7, got) != token {
			t.Fatalf("%q has another spelling", token)
		}
		if got, err := resumetoken.DecodeList(token, "r"); err == nil && resumetoken.EncodeList("r", got) != token {
			t.Fatalf("%q has another spelling", token)
		}
	})
}

// BenchmarkEncodeConsumer makes the token that each change of a named consumer has.
func BenchmarkEncodeConsumer(b *testing.B) {
	positions := make([]resumetoken.Position, 16)
	for i := range positions {
		positions[i] = resumetoken.Position{Epoch: 1 << 60, Seq: 100_000 + uint64(i), Nonce: 1 << 63}
	}
	b.ReportAllocs()
	for b.Loop() {
		resumetoken.EncodeConsumer("mailer", 1, positions)
	}
}
