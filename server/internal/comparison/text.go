package comparison

import (
	"fmt"
	"io"
	"log/slog"
)

// Text is a personal value. Logs, encoders and format verbs do not show it. Package fmt asks no type about %p and %w, which fit no
// text, and no type in an unexported field.
type Text string

const concealed = "[personal]"

// String returns a placeholder and not the text.
func (t Text) String() string { return concealed }

// Format writes a placeholder for each verb, those for numbers too.
func (t Text) Format(to fmt.State, _ rune) { _, _ = io.WriteString(to, concealed) }

// LogValue returns a placeholder, for slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(concealed) }

// MarshalText returns a placeholder, for encoders.
func (t Text) MarshalText() ([]byte, error) { return []byte(concealed), nil }
