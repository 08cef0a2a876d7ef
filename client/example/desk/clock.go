package main

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// clock formats times in the time zone of the desk.
type clock struct {
	zone *time.Location
	now  time.Time
}

// at returns a time as text, such as "29 Nov 2026, 03:10 UTC". Unset: "an unknown time".
func (c clock) at(t *timestamppb.Timestamp) string {
	if t == nil {
		return "an unknown time"
	}
	return t.AsTime().In(c.zone).Format("2 Jan 2006, 15:04 MST")
}

// exact is at with seconds.
func (c clock) exact(t *timestamppb.Timestamp) string {
	if t == nil {
		return "an unknown time"
	}
	return t.AsTime().In(c.zone).Format("2 Jan 2006, 15:04:05 MST")
}

// machine returns a time for the attribute datetime of HTML.
func (c clock) machine(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}

// age returns how long ago a time is, as text. Unset: "".
func (c clock) age(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return duration(c.now.Sub(t.AsTime()))
}

// duration returns a duration in its greatest unit, rounded down.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return "under a minute"
	case d < time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < day:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/day), "day")
}

func count(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
