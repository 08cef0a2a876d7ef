package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestRecordIsShared: what one instance has added, another one knows, and a later one too.
func TestRecordIsShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sent")
	first, second := mustOpen(t, path), mustOpen(t, path)
	if wantHas(t, second, "one", false); first.add("one", noteSent) != nil {
		t.Fatal("add failed")
	}
	if err := first.add("one", noteSent); err != nil {
		t.Errorf("added again: %v", err)
	}
	wantHas(t, first, "one", true)
	wantHas(t, second, "one", true)
	wantHas(t, second, "One", false)
	wantHas(t, mustOpen(t, path), "one", true)
}

// TestRecordInMemory: without a path, each record begins empty.
func TestRecordInMemory(t *testing.T) {
	first := mustOpen(t, "")
	if err := first.add("one", noteSent); err != nil {
		t.Fatal(err)
	}
	wantHas(t, first, "one", true)
	wantHas(t, mustOpen(t, ""), "one", false)
}

// TestRecordDropsTheOld: a name older than keptFor is removed at a start, and while the mailer runs, if there are many newer ones. A younger
// one stays. The newest ones stay, whatever a clock says.
func TestRecordDropsTheOld(t *testing.T) {
	path := t.TempDir()
	put := func(name string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(path, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	put("old", keptFor+2*time.Hour)
	wantHas(t, mustOpen(t, path), "old", true)
	for i := range keptNewest {
		put(strconv.Itoa(i), keptFor+time.Hour) // as if the clock were wrong
	}
	put("young", keptFor-time.Hour)
	r := mustOpen(t, path)
	wantHas(t, r, "old", false)
	wantHas(t, r, "young", true)
	wantHas(t, r, strconv.Itoa(keptNewest-1), true)

	put("old", keptFor+2*time.Hour)
	for i := range keptNewest {
		put(strconv.Itoa(i), 0)
	}
	r.added.Store(cleanEvery - 1)
	if err := r.add("new", noteSent); err != nil {
		t.Fatal(err)
	}
	wantHas(t, r, "old", false)
	wantHas(t, r, "young", true)
	wantHas(t, r, "new", true)
}

// TestRecordAfterACrash: a mail that was about to be sent is not in the record, whatever a crash has left of its name. It can be added, and
// its note replaced by a shorter one.
func TestRecordAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sent")
	r := mustOpen(t, path)
	if err := r.reserve("one"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "two"+suffixSending), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, path)
	for _, name := range []string{"one", "two"} {
		wantHas(t, r, name, false)
		for _, note := range []string{noteRefused, noteSent, ""} {
			if err := r.add(name, note); err != nil || mustNote(t, r, name) != note {
				t.Errorf("%s: %v, note %q, want %q", name, err, mustNote(t, r, name), note)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(path, "one"+suffixSending)); !os.IsNotExist(err) {
		t.Errorf("the name before the send stays: %v", err)
	}
}

// TestRecordKeepsToItsDirectory: a name that leads out of it is an error, not a mail that counts as sent.
func TestRecordKeepsToItsDirectory(t *testing.T) {
	r := mustOpen(t, filepath.Join(t.TempDir(), "sent"))
	for _, name := range []string{"../out", "/etc/passwd"} {
		if err := r.add(name, noteSent); err == nil {
			t.Errorf("%q was added", name)
		}
		if known, err := r.has(name); known || err == nil {
			t.Errorf("%q: %v, %v", name, known, err)
		}
	}
}

func mustOpen(t *testing.T, path string) *record {
	t.Helper()
	r, err := openRecord(path, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.close() })
	return r
}

func wantHas(t *testing.T, r *record, name string, want bool) {
	t.Helper()
	if got, err := r.has(name); got != want || err != nil {
		t.Errorf("has(%q) is %v, %v; want %v", name, got, err, want)
	}
}
