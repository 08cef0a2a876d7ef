package live

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestTheTimesFitTogether: the package comment's table holds the constants, and their relations hold, each as
// the comment states it.
func TestTheTimesFitTogether(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]time.Duration{
		"FreshnessBound": FreshnessBound, "followBlock": followBlock, "checkEvery": checkEvery, "updateGrace": updateGrace,
		"ownPause": ownPause, "watchedPause": watchedPause, "readTimeout": readTimeout, "callTimeout": callTimeout,
		"retryMin": retryMin, "retryMax": retryMax, "logEvery": logEvery,
	}
	rows := regexp.MustCompile(`(?m)^//\t(\w+) +([0-9]\w*) `).FindAllStringSubmatch(string(text), -1)
	for _, row := range rows {
		name, got := row[1], row[2]
		if want, known := times[name]; !known || got != want.String() {
			t.Errorf("doc.go says that %s is %s; want %v", name, got, want)
		}
		delete(times, name)
	}
	for name, value := range times {
		t.Errorf("doc.go has no row for %s, %v", name, value)
	}

	for relation, holds := range map[string]bool{
		// On a feed without new entries a wait and a check can both pass before the cache is marked fresh again, and on a
		// busy machine they take half as long again: else the cache would answer nothing much of the time.
		"2*FreshnessBound >= 3*(followBlock+checkEvery)": 2*FreshnessBound >= 3*(followBlock+checkEvery),
		"updateGrace < FreshnessBound":                   updateGrace < FreshnessBound,
		"ownPause < updateGrace":                         ownPause < updateGrace,
		"watchedPause < ownPause":                        watchedPause < ownPause,
		"retryMin < retryMax":                            retryMin < retryMax,
		"retryMax+callTimeout < logEvery":                retryMax+callTimeout < logEvery,
	} {
		if !holds {
			t.Errorf("%s does not hold", relation)
		}
		if !strings.Contains(string(text), "//\t"+relation+" ") {
			t.Errorf("doc.go does not state %s", relation)
		}
	}
}
