package config

import (
	"math"
	"strconv"
	"time"
)

// unreadable marks a number or duration whose text could not be parsed. It lies outside every
// range, so that Load reports it together with all other problems; an error from UnmarshalText
// would make kong stop at the first one.
const unreadable = math.MinInt64

// Count is a whole number. A text that is none is reported by Load, not by UnmarshalText.
type Count int64

// UnmarshalText never fails; see Count.
func (c *Count) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		n = unreadable
	}
	*c = Count(n)
	return nil
}

// String is the number in decimal digits.
func (c Count) String() string { return strconv.FormatInt(int64(c), 10) }

// Duration is a time.Duration in Go's notation ("25s", "30m"). A text that is none is reported by
// Load, not by UnmarshalText.
type Duration time.Duration

// UnmarshalText never fails; see Duration.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		parsed = unreadable
	}
	*d = Duration(parsed)
	return nil
}

// String is the duration in Go's notation.
func (d Duration) String() string { return time.Duration(d).String() }
