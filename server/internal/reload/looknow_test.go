package reload

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// run runs the Watcher until the test ends.
func (s *setting) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

// A reload on request does not wait for the next look, and is logged in one line whatever it finds.
func TestLookNow(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "secret")
		write(t, path, "good-planted-1")
		s := newSetting(t, path)
		s.every = time.Hour // no look comes by itself
		s.run(t)
		for _, step := range []struct {
			text, inUse, line string
		}{
			{"good-planted-1", "good-planted-1", `files=1 changed="" refused=""`},
			{"good-planted-2", "good-planted-2", `files=1 changed=SECRET_FILE refused=""`},
			{"planted", "good-planted-2", `files=1 changed=SECRET_FILE refused=SECRET_FILE`},
			{"planted", "good-planted-2", `files=1 changed="" refused=SECRET_FILE`},
			{"good-planted-2", "good-planted-2", `files=1 changed=SECRET_FILE refused=""`},
		} {
			write(t, path, step.text)
			s.logs.Reset()
			s.LookNow()
			time.Sleep(2 * settleTime) // of the bubble's clock
			synctest.Wait()
			if got := s.current(); got != step.inUse {
				t.Errorf("after %q: %q is in use, want %q", step.text, got, step.inUse)
			}
			lines := strings.Split(strings.TrimSpace(s.logs.String()), "\n")
			if last := lines[len(lines)-1]; strings.Count(s.logs.String(), "on request") != 1 || !strings.HasSuffix(last, step.line) {
				t.Errorf("after %q: log\n%s\nwant one line about the request, with %s", step.text, s.logs.String(), step.line)
			}
			if strings.Contains(s.logs.String(), "planted") {
				t.Errorf("the log holds a text:\n%s", s.logs.String())
			}
		}
	})
}

// A file that is written in place is short for a moment. A reload on request does not take half a text either.
func TestLookNowTakesNoHalfText(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "secret")
		write(t, path, "good-1")
		s := newSetting(t, path)
		s.run(t)
		time.Sleep(every / 2) // between two looks
		write(t, path, "good-")
		s.LookNow()
		time.Sleep(settleTime / 2)
		write(t, path, "good-2")
		time.Sleep(3 * every)
		synctest.Wait()
		if want := []string{"good-1", "good-2"}; strings.Join(s.taken, " ") != strings.Join(want, " ") {
			t.Errorf("taken %q, want %q", s.taken, want)
		}
	})
}

// Requests before Run are kept, and several are one.
func TestLookNowBeforeRun(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "secret")
		write(t, path, "good-1")
		s := newSetting(t, path)
		for range 5 {
			s.LookNow()
		}
		s.run(t)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := strings.Count(s.logs.String(), "on request"); got != 1 {
			t.Errorf("%d lines about requests, want 1:\n%s", got, s.logs.String())
		}
	})
}
