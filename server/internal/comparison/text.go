package comparison

import "log/slog"

// Text is a personal value. No log, no error and no format verb shows it.
type Text string

const concealed = "[personal]"

// String returns a placeholder and not the text.
func (t Text) String() string { return concealed }

// GoString returns a placeholder, for %#v.
func (t Text) GoString() string { return concealed }

// LogValue returns a placeholder, for slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(concealed) }

// MarshalText returns a placeholder, for encoders.
func (t Text) MarshalText() ([]byte, error) { return []byte(concealed), nil }
