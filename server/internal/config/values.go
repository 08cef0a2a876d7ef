package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// unreadable is the value of a number or duration whose text could not be parsed. It is outside every range, so that Load
// reports it together with all other problems. If UnmarshalText returned an error, kong would stop at the first one.
const unreadable = math.MinInt64

// Count is a whole number. Load, not UnmarshalText, reports a text that is not a number.
type Count int64

// UnmarshalText never returns an error; see Count.
func (c *Count) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		n = unreadable
	}
	*c = Count(n)
	return nil
}

// String returns the number in decimal digits.
func (c Count) String() string { return strconv.FormatInt(int64(c), 10) }

// Duration is a time.Duration in Go's notation ("25s", "30m"). Load, not UnmarshalText, reports a text that is not a duration.
type Duration time.Duration

// UnmarshalText never returns an error; see Duration.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		parsed = unreadable
	}
	*d = Duration(parsed)
	return nil
}

// String returns the duration in Go's notation.
func (d Duration) String() string { return time.Duration(d).String() }

// Bool is a switch. Load, not Decode, reports a text that is neither true nor false.
type Bool int8

// The values of a Bool. Any other value comes from a text that is neither true nor false.
const (
	False Bool = 0
	True  Bool = 1

	unclear Bool = -1
)

// On reports whether the switch is on. Call it after Load.
func (b Bool) On() bool { return b == True }

// IsBool makes kong accept the flag without a value.
func (Bool) IsBool() bool { return true }

// Decode never returns an error; see Bool.
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

// String returns "true" or "false".
func (b Bool) String() string { return strconv.FormatBool(b.On()) }
