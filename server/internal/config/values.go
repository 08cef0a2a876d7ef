package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
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

// Bool is a switch. A text that is neither on nor off is reported by Load, not by Decode.
type Bool int8

// The values of a switch; any other is a text that could not be read.
const (
	False Bool = 0
	True  Bool = 1

	unclear Bool = -1
)

// On says whether the switch is on. It is for settings that Load has checked.
func (b Bool) On() bool { return b == True }

// IsBool lets kong take the flag without a value.
func (Bool) IsBool() bool { return true }

// Decode never fails on a value; see Bool.
func (b *Bool) Decode(ctx *kong.DecodeContext) error {
	*b = True
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		return nil
	}
	*b = readBool(fmt.Sprint(ctx.Scan.Pop().Value))
	return nil
}

func readBool(text string) Bool {
	switch strings.ToLower(text) {
	case "true", "1", "yes":
		return True
	case "false", "0", "no":
		return False
	default:
		return unclear
	}
}

// String is "true" or "false".
func (b Bool) String() string { return strconv.FormatBool(b.On()) }
