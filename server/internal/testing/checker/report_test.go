package checker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/await"
)

// TestReport: people can read it, it is the same each time, and holds nothing that must not be shown.
func TestReport(t *testing.T) {
	h := newHistory()
	for range 9 {
		w := h.watchReference().tells(at(1, failedWith("vr_1"), counting(1, 0)), at(3, failedWith("vr_1"), counting(1, 3)))
		w.ends(nil)
	}
	h.retries(at(3, failedWith("vr_1"), counting(1, 3)), "link")
	h.retries(at(3, failedWith("vr_1"), counting(1, 3)), "link")
	text := h.Check(Options{MaxRetries: 2}).String()
	for _, want := range []string{"Gapless: 9", "… and 4 more", "AtMostLimit: 3", "SettledEnds: 9", "revision 3 follows 1", "watch 2 ended with OK", "first seen by watch 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "SECRET") {
		t.Errorf("the report shows what it must not:\n%s", text)
	}
	for range 20 {
		if again := h.Check(Options{MaxRetries: 2}).String(); again != text {
			t.Fatalf("another report of the same:\n%s\n%s", text, again)
		}
	}
	if text := (Report{}).String(); text != "0 violations\n" {
		t.Errorf("%q", text)
	}
	want := "1 sessions, 9 watches with 18 responses, 0 resumes and 0 restarts, 0 gets, 2 retries, 0 failures, 0 losses, 2 distinct facts"
	if got := h.Seen().String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestOrderOfReport: by rule, then by session, then by time.
func TestOrderOfReport(t *testing.T) {
	h := newHistory()
	h.getsOf(at(1, about("vs_2"), func(v *verificationv1.Verification) { v.Settled = true }))
	h.getsOf(at(1, about("vs_2"), counting(9, 9)))
	h.getsOf(at(2, about("vs_1"), func(v *verificationv1.Verification) { v.Settled = true }))
	h.watchOne().tells(at(2, processing), at(2, processing))
	var got []string
	for _, v := range h.Check(Options{MaxRetries: 2}) {
		got = append(got, fmt.Sprint(v.Rule, " ", v.Session))
	}
	want := []string{"Unique vs_1", "SettledEnds vs_1", "SettledEnds vs_2", "NeverBackwards vs_1", "NeverBackwards vs_2", "AtMostLimit vs_2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestConcurrentUse: all handles at once, which the race detector watches.
func TestConcurrentUse(t *testing.T) {
	recorder := NewRecorder(time.Now, error.Error)
	h := &history{Recorder: recorder}
	done := make(chan struct{})
	const workers = 8
	for n := range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			mine := about(fmt.Sprintf("vs_%d", n%3))
			for range 50 {
				w := h.watchAll()
				w.tells(at(1, mine), at(2, mine, verified)).ends(errCanceled)
				h.getsOf(at(2, mine, verified))
				h.fails("vs_1", "evt", "vr")
				h.Era(Loss{})()
				_ = h.Seen()
			}
		}()
	}
	for range workers {
		await.One(t, done)
	}
	if report := h.Check(Options{}); len(report) > 0 {
		t.Error(report)
	}
	if seen := h.Seen(); seen.Responses != workers*50*3 || seen.Facts != 6 {
		t.Errorf("%v", seen)
	}
}
