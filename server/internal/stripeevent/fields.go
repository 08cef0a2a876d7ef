package stripeevent

import (
	"encoding/json"
	"strconv"
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

// text is a JSON string. Any other value decodes as "".
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	if b[0] != '"' {
		return nil
	}
	if plain := b[1 : len(b)-1]; isPlain(plain) {
		*t = text(plain)
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
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
		if err := json.Unmarshal(b, &id); err != nil {
			return err
		}
	case '{':
		var report struct {
			ID text `json:"id"`
		}
		if err := json.Unmarshal(b, &report); err != nil {
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
