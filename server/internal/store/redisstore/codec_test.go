package redisstore

import (
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

func roundTrip(t interface{ Fatalf(string, ...any) }, want verification.Session) {
	body, err := appendBody(nil, want, format)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	got, err := decode(want.ID, body)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("the record changed (-want +got):\n%s", diff)
	}
}

// lives makes a session by the real core, from random inputs.
func lives(t *rapid.T) verification.Session {
	session := verification.Session{}
	policy := verification.RetryPolicy{MaxRetries: 3}
	second := int64(1_790_000_000)
	principal := rapid.SampledFrom([]string{"", "token:billing", "spiffe://example.org/bff"})
	texts := rapid.SampledFrom([]string{"", "document_expired", "abandoned", "new_code"})
	for range rapid.IntRange(1, 30).Draw(t, "inputs") {
		second += rapid.Int64Range(-5, 100).Draw(t, "seconds")
		object := verification.Object{
			ID: "vs_a", Account: rapid.SampledFrom([]string{"", "acct_1"}).Draw(t, "account"), Livemode: true,
			Type:      rapid.SampledFrom([]string{"document", "id_number"}).Draw(t, "type"),
			Status:    rapid.SampledFrom([]string{"requires_input", "processing", "verified", "canceled", "unheard_of"}).Draw(t, "status"),
			Report:    rapid.SampledFrom([]string{"", "vr_1", "vr_2", "vr_3"}).Draw(t, "report"),
			Created:   1_790_000_000,
			Reference: rapid.SampledFrom([]string{"", "case-1", "case-2"}).Draw(t, "reference"),
			Redaction: rapid.SampledFrom([]verification.Redaction{0, 0, 0, 0, 0, 0, 1, 2}).Draw(t, "redaction"),
			Replaces:  rapid.SampledFrom([]string{"", "", "vs_0"}).Draw(t, "replaces"),
		}
		if object.Status == "requires_input" {
			object.Error = verification.Error{Code: texts.Draw(t, "code"), Reason: texts.Draw(t, "reason")}
		}
		now := time.Unix(second, 0)
		switch rapid.IntRange(0, 13).Draw(t, "input") {
		default:
			event := verification.Event{
				ID:     "evt_" + rapid.StringMatching("[a-z]{3}").Draw(t, "event"),
				Type:   rapid.SampledFrom(append(slices.Clone(eventTypes[1:]), "identity.new")).Draw(t, "event type"),
				Source: verification.SourceWebhook, Second: second, RecordTime: second*1000 + 300, Object: object,
			}
			session, _ = verification.Transition(session, event)
		case 6:
			session, _ = verification.ApplyRead(session, verification.Read{Object: object, AsOf: second, Applied: session.Applied, RecordTime: second * 1000})
		case 7:
			if session.Exists() {
				session, _, _ = verification.GrantRetry(session, policy, now, principal.Draw(t, "principal"))
			}
		case 8:
			if session.Exists() {
				session, _, _ = verification.GrantReplacement(session, policy, now, principal.Draw(t, "principal"), "https://example.com/back")
				session, _ = verification.Supersede(session, "vs_b", now)
			}
		case 9:
			if session.Exists() {
				inherited := verification.State{FailedAttempts: 2, RetriesGranted: 1, Overrides: 1}
				session, _ = verification.Inherit(session, verification.Session{ID: "vs_0", State: inherited}, now)
			}
		case 10:
			session, _, _ = verification.AllowRetry(session, verification.RetryPolicy{}, now, principal.Draw(t, "principal"))
		case 11:
			kind := verification.ResolutionKind(rapid.IntRange(0, 3).Draw(t, "kind"))
			session, _ = verification.ResolveVerification(session, kind, now, principal.Draw(t, "principal"))
		case 12:
			session, _, _ = verification.Compare(session, 10, now, principal.Draw(t, "principal"), verification.ComparedFields(rapid.Uint16().Draw(t, "fields")))
		case 13:
			session, _ = verification.Archive(session, 1, now.Add(time.Hour))
		}
	}
	session.ID = "vs_a"
	return session
}

func TestRoundTripOfLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { roundTrip(t, lives(t)) })
}

// anything makes a session of arbitrary values, also such that the core never makes.
func anything(t *rapid.T) verification.Session {
	text := rapid.OneOf(rapid.Just(""), rapid.SampledFrom(statusCodes[:]), rapid.SampledFrom(eventTypes[:]), rapid.SampledFrom(errorCodes[:]),
		rapid.SampledFrom([]string{"evt_", "evt_1", "vr_", "vr_1"}), rapid.String())
	number := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64(), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64}))
	hash := rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64())
	failed := func() verification.Error {
		return verification.Error{Code: text.Draw(t, "code"), Reason: text.Draw(t, "reason")}
	}
	allowance := func() verification.Allowance {
		return verification.Allowance{Given: rapid.Bool().Draw(t, "given"), Replacement: rapid.Bool().Draw(t, "of a replacement"), Failure: hash.Draw(t, "allowed")}
	}
	state := func() verification.State {
		return verification.State{
			Status: text.Draw(t, "status"), Type: text.Draw(t, "type"), Error: failed(), Report: text.Draw(t, "report"),
			Created: number.Draw(t, "created"), UpdateTime: number.Draw(t, "update"), Reference: text.Draw(t, "reference"),
			Redaction:      verification.Redaction(rapid.Byte().Draw(t, "redaction")),
			FailedAttempts: rapid.Int32().Draw(t, "attempts"), RetriesGranted: rapid.Int32().Draw(t, "retries"),
			Resolution: verification.Resolution{
				Kind: verification.ResolutionKind(rapid.Byte().Draw(t, "kind")), Principal: text.Draw(t, "by"), Second: number.Draw(t, "resolved"),
			},
			Allowance: allowance(), Overrides: rapid.Int32Range(-1, 1).Draw(t, "overrides"),
			SupersededBy: text.Draw(t, "superseded"), ShownFailure: hash.Draw(t, "shown"), ShownGranted: rapid.Bool().Draw(t, "granted"),
		}
	}
	s := verification.Session{
		ID: "vs_a", Account: text.Draw(t, "account"), Livemode: rapid.Bool().Draw(t, "livemode"), State: state(),
		Revision: rapid.Int32().Draw(t, "revision"), Second: number.Draw(t, "second"), AsOf: number.Draw(t, "as of"),
		Applied: rapid.Uint32().Draw(t, "applied"), Unresolved: rapid.Bool().Draw(t, "pending"),
		Replacement: verification.Replacement{Granted: rapid.Bool().Draw(t, "replaced"), ReturnURL: text.Draw(t, "url")},
		Predecessor: text.Draw(t, "predecessor"), Replaces: text.Draw(t, "replaces"), Extra: extra(t),
		Inherited: verification.Inheritance{FailedAttempts: rapid.Int32().Draw(t, "inherited attempts"), RetriesGranted: rapid.Int32().Draw(t, "inherited retries")},
	}
	if s.Replacement.Granted { // of a record without the grant, a reader gives the allowance back
		s.Replacement.Used = allowance()
	}
	s.Inherited.Overrides = rapid.Int32().Draw(t, "inherited overrides")
	s.Comparisons = rapid.SliceOfN(number, 0, 3).Draw(t, "comparisons")
	if rapid.Bool().Draw(t, "outcome kept") {
		s.Kept = verification.KeptOutcome{At: rapid.OneOf(rapid.Int32Range(0, 3), rapid.Int32()).Draw(t, "at"), Imported: rapid.Bool().Draw(t, "imported")}
		s.Kept.Revision = rapid.Int32().Draw(t, "outcome")
		copy(s.Kept.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	}
	for range rapid.IntRange(0, 4).Draw(t, "failures") {
		s.Failures = append(s.Failures, verification.Failure{ID: hash.Draw(t, "failure"), Granted: rapid.Bool().Draw(t, "granted")})
	}
	s.LastFailure = verification.LastFailure{ID: hash.Draw(t, "last"), Second: number.Draw(t, "last second"), Code: text.Draw(t, "last code")}
	s.LastFailure.Granted = slices.Contains(s.Failures, verification.Failure{ID: s.LastFailure.ID, Granted: true})
	for range rapid.IntRange(0, 4).Draw(t, "trimmed") {
		s.TrimmedEvents = append(s.TrimmedEvents, verification.TrimmedEvent{ID: hash.Draw(t, "trimmed"), Until: number.Draw(t, "until")})
	}
	for range rapid.IntRange(0, 6).Draw(t, "entries") {
		e := verification.Entry{
			Revision: rapid.Int32Range(-1, 3).Draw(t, "revision"), EventID: text.Draw(t, "event"), EventType: text.Draw(t, "event type"),
			Source: verification.Source(rapid.Byte().Draw(t, "source")), Effect: verification.Effect(rapid.Byte().Draw(t, "effect")),
			EventTime: number.Draw(t, "time"), RecordTime: number.Draw(t, "recorded"), Status: text.Draw(t, "status"), Error: failed(), Extra: extra(t),
			OutcomeTime: number.Draw(t, "outcome time"), Operation: verification.Operation(rapid.Byte().Draw(t, "operation")),
			Compared: verification.ComparedFields(rapid.Uint16().Draw(t, "compared")),
		}
		if rapid.Bool().Draw(t, "has result") {
			e.Result = state()
		}
		s.History = append(s.History, e)
	}
	return s
}

// extra is what a newer version might have written: fields of every wire type with unknown numbers.
func extra(t *rapid.T) []byte {
	w := &writer{}
	for range rapid.IntRange(0, 2).Draw(t, "unknown fields") {
		number := protowire.Number(rapid.Int32Range(100, 1000).Draw(t, "number"))
		switch rapid.IntRange(0, 2).Draw(t, "wire type") {
		case 0:
			w.int(number, rapid.Int64().Draw(t, "value"))
		case 1:
			w.fixed(number, rapid.Uint64().Draw(t, "value"))
		default:
			w.text(number, rapid.String().Draw(t, "value"))
		}
	}
	return w.buf
}

func TestRoundTripOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { roundTrip(t, anything(t)) })
}

// A rolling upgrade: this version changes a record of the next one, which finds its fields again.
func TestFieldsOfTheNextVersionAreKept(t *testing.T) {
	session, _ := verification.Transition(verification.Session{}, event("vs_a", 0))
	newer := &writer{}
	newer.text(500, "of the session")
	session.Extra = newer.buf
	newer = &writer{}
	newer.text(501, "of the entry")
	session.History[0].Extra = newer.buf
	body, err := appendBody(nil, session, format)
	if err != nil {
		t.Fatal(err)
	}
	body[0] = format + 1

	got, err := decode("vs_a", body)
	if err != nil {
		t.Fatal(err)
	}
	got, _ = verification.Transition(got, event("vs_a", 1))
	if body, err = appendBody(nil, got, format); err != nil {
		t.Fatal(err)
	}
	if body[0] != format {
		t.Errorf("written as format %d; want %d", body[0], format)
	}
	if got, err = decode("vs_a", body); err != nil {
		t.Fatal(err)
	}
	if string(got.Extra) != string(session.Extra) || string(got.History[0].Extra) != string(session.History[0].Extra) {
		t.Errorf("kept %q and %q", got.Extra, got.History[0].Extra)
	}
}

func TestUnreadableRecords(t *testing.T) {
	field := func(write func(*writer)) []byte {
		w := &writer{buf: []byte{format}}
		write(w)
		return w.buf
	}
	entry := func(write func(*writer)) []byte {
		inner := &writer{}
		write(inner)
		return field(func(w *writer) { w.text(sessionEntry, string(inner.buf)) })
	}
	tests := map[string][]byte{
		"nothing":                       {},
		"format 0":                      {0},
		"a format too new":              {format + 2},
		"a cut tag":                     {format, 0x80},
		"a cut text":                    {format, 0x12, 5, 'a'},
		"a status of tomorrow":          field(func(w *writer) { w.uint(stateStatus, uint64(len(statusCodes))) }),
		"an event of tomorrow":          entry(func(w *writer) { w.uint(entryEventType, uint64(len(eventTypes))) }),
		"a carried status of tomorrow":  entry(func(w *writer) { w.uint(entryStatus, uint64(len(statusCodes))) }),
		"an error of tomorrow":          field(func(w *writer) { w.uint(stateErrorCode, uint64(len(errorCodes))) }),
		"an entry's error of tomorrow":  entry(func(w *writer) { w.uint(stateErrorCode, uint64(len(errorCodes))); w.int(entryRevision, 1) }),
		"a carried error of tomorrow":   entry(func(w *writer) { w.uint(entryErrorCode, uint64(len(errorCodes))) }),
		"a last error of tomorrow":      field(func(w *writer) { w.uint(sessionLastCode, uint64(len(errorCodes))) }),
		"an effect beyond a byte":       entry(func(w *writer) { w.uint(entryEffect, 256) }),
		"a redaction beyond a byte":     field(func(w *writer) { w.uint(stateRedaction, 256) }),
		"a source beyond a byte":        entry(func(w *writer) { w.uint(entrySource, 256) }),
		"a cut entry":                   entry(func(w *writer) { w.buf = []byte{0x80} }),
		"a revision beyond int32":       field(func(w *writer) { w.int(sessionRevision, math.MaxInt32+1) }),
		"a text as number":              field(func(w *writer) { w.text(sessionRevision, "1") }),
		"a number as text":              field(func(w *writer) { w.uint(sessionAccount, 1) }),
		"a hash as number":              field(func(w *writer) { w.uint(sessionLastID, 1) }),
		"half a failure":                field(func(w *writer) { w.text(sessionFailures, "1234") }),
		"a grant of no failure":         field(func(w *writer) { w.text(sessionGranted, "\x00") }),
		"a shown failure of none":       field(func(w *writer) { w.uint(stateShownFailure, 1) }),
		"an outcome without a name":     field(func(w *writer) { w.text(sessionKept, "\x02\x02\x00") }),
		"an entry's outcome cut short":  entry(func(w *writer) { w.text(entryKept, "\x80") }),
		"an outcome cut short":          field(func(w *writer) { w.text(sessionKept, "\x80") }),
		"an outcome beyond int32":       field(func(w *writer) { w.text(sessionKept, "\xff\xff\xff\xff\xff\x01\x02\x001234567890123456") }),
		"an outcome that is half found": field(func(w *writer) { w.text(sessionKept, "\x02\x02\x021234567890123456") }),
		"half a trimmed event id":       field(func(w *writer) { w.text(sessionTrimmed, "12345678") }),
		"too many entries":              field(func(w *writer) { w.buf = append(w.buf, slices.Repeat([]byte{9<<3 | 2, 0}, maxEntries+1)...) }),
		"too long":                      append([]byte{format}, make([]byte, maxBody)...),
	}
	for name, body := range tests {
		if _, err := decode("vs_a", body); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: %v; want ErrCorrupt", name, err)
		}
	}
	if _, err := parseRecord("vs_a", "short"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("no header: %v; want ErrCorrupt", err)
	}
}

func TestRecordsThatCouldNotBeReadAgainAreNotWritten(t *testing.T) {
	tests := map[string]verification.Session{
		"too long":         {Account: string(make([]byte, maxBody))},
		"too many entries": {History: make([]verification.Entry, maxEntries+1)},
	}
	for name, session := range tests {
		if _, err := appendBody(nil, session, format); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: %v; want ErrCorrupt", name, err)
		}
	}
}

// The stored bytes of a known record must be readable for ever: these are such, as first written.
func TestGoldenRecord(t *testing.T) {
	for file, want := range map[string]verification.Session{
		"format1.bin": fiveEvents(),
		"format2.bin": successor(),
		// That record, with one event more, as a replica of the version before writes it.
		"format2_written_by_1.bin": afterOneMore(successor()),
	} {
		body, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode("vs_1MgnjdLkdIwHu7ixRNuiPmx8", body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: the record as first written is read otherwise today (-want +got):\n%s", file, diff)
		}
	}
}

// successor is the life of five events of a session that replaced another one.
func successor() verification.Session {
	var session verification.Session
	for n, event := range lifeOfFive() {
		event.Object.Replaces = "vs_1MgnjdLkdIwHu7ixPredeces"
		session, _ = verification.Transition(session, event)
		if n == 0 {
			predecessor := verification.Session{ID: event.Object.Replaces, State: verification.State{FailedAttempts: 2, RetriesGranted: 1}}
			session, _ = verification.Inherit(session, predecessor, time.Unix(event.Second, 0))
		}
	}
	return session
}

// afterOneMore is a session after an event that came late.
func afterOneMore(session verification.Session) verification.Session {
	late := lifeOfFive()[1]
	late.ID = "evt_1MgnkALkdIwHu7ixLate0001"
	session, _ = verification.Transition(session, late)
	return session
}

// A store with the format before writes none of the new fields, and keeps those that are there: replicas
// with either setting run side by side while the setting is rolled.
func TestTheFormatBeforeIsWrittenDuringARoll(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		older := openStore(t, Options{Addrs: []string{addr}, RecordFormat: 1})
		newer := openStore(t, Options{Addrs: []string{addr}})
		ctx, raw := testContext(t), rawClient(t, addr)
		write := func(s *Store, change func(verification.Session) verification.Session) verification.Session {
			t.Helper()
			id := successor().ID
			if _, err := s.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
				return change(current), true, nil
			}); err != nil {
				t.Fatal(err)
			}
			kept, err := s.Get(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			value, err := raw.Get(ctx, s.keys.record(id)).Bytes()
			if err != nil || value[headerSize] != s.format {
				t.Fatalf("written as format %d, %v; want %d", value[headerSize], err, s.format)
			}
			return kept
		}
		whole := func(verification.Session) verification.Session { return successor() }
		plain := successor()
		plain.Replaces, plain.Inherited = "", verification.Inheritance{}

		for range 2 { // also with what the store has cached of its own commit
			if got := write(older, whole); !cmp.Equal(plain, got, cmpopts.EquateEmpty()) {
				t.Errorf("format 1 holds new fields: %s", cmp.Diff(plain, got, cmpopts.EquateEmpty()))
			}
		}
		if got := write(newer, whole); !cmp.Equal(successor(), got, cmpopts.EquateEmpty()) {
			t.Errorf("format 2: %s", cmp.Diff(successor(), got, cmpopts.EquateEmpty()))
		}
		if got := write(older, afterOneMore); !cmp.Equal(afterOneMore(successor()), got, cmpopts.EquateEmpty()) {
			t.Errorf("format 1 lost new fields: %s", cmp.Diff(afterOneMore(successor()), got, cmpopts.EquateEmpty()))
		}
	})
}

func TestRecordFormatsThatAreNotWritten(t *testing.T) {
	for _, wrong := range []int{-1, 4} {
		if _, err := Open(Options{Addrs: []string{"127.0.0.1:1"}, RecordFormat: wrong}); !errors.Is(err, ErrMisconfigured) {
			t.Errorf("records of format %d: %v; want ErrMisconfigured", wrong, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	body, err := appendBody(nil, fiveEvents(), format)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte{format})
	f.Add([]byte{format + 1, 9<<3 | 2, 2, 8, 2})
	f.Fuzz(func(t *testing.T, body []byte) {
		session, err := decode("vs_a", body)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("decode: %v; want ErrCorrupt", err)
			}
			return
		}
		// What was read is written so that it reads the same.
		roundTrip(t, session)
	})
}

// fill sets every field to something that is not zero, each time another.
func fill(t *testing.T, v reflect.Value, next *uint8) {
	*next++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *next))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*next))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*next))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), next)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), next)
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[[]byte]() {
			w := &writer{}
			w.uint(900, uint64(*next))
			v.SetBytes(w.buf)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), next)
		}
	default:
		t.Fatalf("the codec knows no %s", v.Type())
	}
}

// A field that somebody adds to the record and forgets here would be lost without a word.
func TestEveryFieldIsStored(t *testing.T) {
	var session verification.Session
	var next uint8
	fill(t, reflect.ValueOf(&session).Elem(), &next)
	// What is derived: whether the newest failure has its grant, and which one was the newest earlier.
	session.Failures[1] = verification.Failure{ID: session.LastFailure.ID, Granted: true}
	for i := range session.History {
		session.History[i].Result.LastFailure = verification.LastFailure{}
	}
	roundTrip(t, session)
}
