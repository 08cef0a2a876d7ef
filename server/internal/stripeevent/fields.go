package stripeevent

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// Bounds in bytes. Stripe's values are far shorter than the first two.
const (
	maxWord      = 100  // status, types, error code: longer ones are cut
	maxReason    = 1000 // error reason: longer ones are cut
	maxReference = 255  // a longer one counts as no reference
)

// maxSecond is the last second of the year 9999, the latest time of protobuf and RFC 3339.
const maxSecond = 253402300799

// redactedText is what Stripe puts in the place of texts that a redaction has erased, also in events that it sends again.
const redactedText = "[redacted]"

// text is a JSON string. Any other value decodes as "", and so does redactedText.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	if b[0] != '"' {
		return nil
	}
	if decoded := unquote(b); decoded != redactedText {
		*t = text(decoded)
	}
	return nil
}

// rawValue is the undecoded bytes of a JSON value, in the memory of the whole. It is empty if there is none.
type rawValue []byte

func (r *rawValue) UnmarshalJSON(b []byte) error {
	*r = b
	return nil
}

// isPlain reports whether the bytes of a JSON string need no decoding. Nearly all need none, and a decoder for each would be most of
// the cost of an event.
func isPlain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// second is a JSON integer of Unix seconds from 1970 to 9999. For any other value, also 1.0, ok is false.
type second struct {
	value int64
	ok    bool
}

func (s *second) UnmarshalJSON(b []byte) error {
	value, err := strconv.ParseInt(string(b), 10, 64)
	*s = second{}
	if err == nil && value >= 0 && value <= maxSecond {
		*s = second{value: value, ok: true}
	}
	return nil
}

// flag is a JSON boolean. For any other value, set is false.
type flag struct{ value, set bool }

func (f *flag) UnmarshalJSON(b []byte) error {
	*f = flag{value: string(b) == "true", set: string(b) == "true" || string(b) == "false"}
	return nil
}

// reportID is last_verification_report: an id, or the report itself if the API call has expanded it. An invalid id decodes as "". It
// is never cut, since failures are distinguished by it.
type reportID string

func (r *reportID) UnmarshalJSON(b []byte) error {
	var id text
	switch b[0] {
	case '"':
		_ = id.UnmarshalJSON(b) // a text never fails
	case '{':
		var report struct {
			ID text `json:"id"`
		}
		if err := unmarshalValid(b, &report); err != nil {
			return err
		}
		id = report.ID
	}
	*r = ""
	if validID(string(id)) {
		*r = reportID(id)
	}
	return nil
}

// parseTime returns the Unix second of a JSON string with a time of RFC 3339, from 1970 to 9999. A fraction of a second is cut.
func parseTime(value []byte) (second int64, ok bool) {
	var at text
	var parsed time.Time
	if len(value) == 0 || at.UnmarshalJSON(value) != nil || parsed.UnmarshalText([]byte(at)) != nil {
		return 0, false
	}
	second = parsed.Unix()
	return second, second >= 0 && second <= maxSecond
}

// bounded returns s cut to at most limit bytes, between two runes.
func bounded(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
