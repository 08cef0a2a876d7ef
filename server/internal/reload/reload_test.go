package reload

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taker applies texts that begin with "good", and refuses others.
type taker struct{ taken []string }

func (u *taker) apply(texts []string) error {
	for _, text := range texts {
		if !strings.HasPrefix(text, "good") {
			return errors.New("begin it with good")
		}
	}
	u.taken = append(u.taken, strings.Join(texts, "+"))
	return nil
}

func (u *taker) current() string { return u.taken[len(u.taken)-1] }

func readSmall(path string) (string, error) { return ReadFile(path, 64<<10) }

// setting is a Watcher of one source whose reads the test controls.
type setting struct {
	taker
	*Watcher
	logs    bytes.Buffer
	refused int
}

func newSetting(t require, paths ...string) *setting {
	s := &setting{}
	s.Watcher = New(Config{
		Logger: slog.New(slog.NewTextHandler(&s.logs, nil)),
		Observe: func(_ string, used bool) {
			if !used {
				s.refused++
			}
		},
	})
	if err := s.Add(Source{Name: "SECRET_FILE", Paths: paths, Read: readSmall, Apply: s.apply}); err != nil {
		t.Fatal(err)
	}
	return s
}

// settled reads until the source is stable.
func (s *setting) settled() {
	s.Look()
	s.Look()
}

// require is the interface that tests and properties share.
type require interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func write(t require, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace replaces a file atomically, like careful editors and tools.
func replace(t require, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// volume is a directory as Kubernetes mounts secrets: each name is a link to ..data/name, ..data is a
// link to a directory with a time in its name, and a change is a new directory and a renamed link.
type volume struct {
	t     require
	dir   string
	swaps int
}

func (v *volume) swap(texts map[string]string) {
	v.t.Helper()
	v.swaps++
	old, _ := os.Readlink(filepath.Join(v.dir, "..data"))
	next := "..2026_11_23_00_00_00." + strings.Repeat("0", 3) + string(rune('a'+v.swaps%26)) + strings.Repeat("x", v.swaps/26)
	check := func(err error) {
		if err != nil {
			v.t.Fatal(err)
		}
	}
	check(os.Mkdir(filepath.Join(v.dir, next), 0o700))
	for name, text := range texts {
		write(v.t, filepath.Join(v.dir, next, name), text)
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(v.dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			v.t.Fatal(err)
		}
	}
	check(os.Symlink(next, filepath.Join(v.dir, "..data_tmp")))
	check(os.Rename(filepath.Join(v.dir, "..data_tmp"), filepath.Join(v.dir, "..data")))
	if old != "" {
		check(os.RemoveAll(filepath.Join(v.dir, old)))
	}
}

// Whatever happens to a file, and however often it is read: only complete texts are applied, none before it is stable, the last stable
// text is in use, and a bad one changes nothing.
func TestOnlyWhatHasSettledIsTaken(t *testing.T) {
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		mounted := &volume{t: t, dir: dir}
		mounted.swap(map[string]string{"secret": "good-0"})
		path := filepath.Join(dir, "secret")
		s := newSetting(t, path)
		whole, last, count := []string{"good-0"}, "good-0", 0
		text := func() string {
			count++
			whole = append(whole, "good-"+strings.Repeat("x", count))
			return whole[len(whole)-1]
		}
		look := func(label string) {
			if rapid.Bool().Draw(t, label) {
				s.Look()
			}
		}
		for range rapid.IntRange(1, 12).Draw(t, "changes") {
			good, next := true, ""
			change := rapid.SampledFrom([]string{"swap", "rename", "halves", "delete", "empty", "malformed", "huge", "none"}).Draw(t, "change")
			switch change {
			case "swap":
				next = text()
				mounted.swap(map[string]string{"secret": next})
				_ = os.Remove(path)
				if err := os.Symlink("..data/secret", path); err != nil {
					t.Fatal(err)
				}
			case "rename":
				next = text()
				replace(t, path, next)
			case "halves":
				next = text()
				write(t, path, next[:len(next)-1])
				look("looks at the half")
				write(t, path, next)
			case "delete":
				good = false
				_ = os.Remove(path)
			case "empty":
				good = false
				replace(t, path, "\n")
			case "malformed":
				good = false
				replace(t, path, "bad")
			case "huge":
				good = false
				replace(t, path, "good"+strings.Repeat("x", 64<<10))
			case "none":
				next = last
				replace(t, path, next)
			}
			before := s.current()
			look("looks too early")
			if s.current() != before {
				t.Fatalf("after %s: %q was taken before it settled", change, s.current())
			}
			s.settled()
			if good {
				last = next
			}
			if s.current() != last {
				t.Fatalf("after %s: %q is in use, want %q", change, s.current(), last)
			}
			before = s.current()
			if s.settled(); s.current() != before {
				t.Fatalf("after %s: there was something left to wait for", change)
			}
		}
		for _, taken := range s.taken {
			if !slices.Contains(whole, taken) {
				t.Fatalf("%q was never meant", taken)
			}
		}
	})
}

func TestABadFileIsToldOnceAndItsTextNever(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for _, test := range []struct {
		name, says string
		spoil      func()
	}{
		{"missing", "no such file", func() { os.Remove(path) }},
		{"empty", "begin it with good", func() { write(t, path, "") }},
		{"too big", "larger than 65536 bytes", func() { write(t, path, strings.Repeat("good-planted", 64<<10)) }},
		{"malformed", "begin it with good", func() { write(t, path, "planted") }},
		{"a directory", "not a regular file", func() { os.Remove(path); os.Mkdir(path, 0o700) }},
		{"a pipe", "not a regular file", func() { os.Remove(path); syscall.Mkfifo(path, 0o600) }}, // which would block for ever
	} {
		t.Run(test.name, func(t *testing.T) {
			os.RemoveAll(path)
			write(t, path, "good-planted-1")
			s := newSetting(t, path)
			test.spoil()
			for range 5 {
				s.settled()
			}
			log := s.logs.String()
			if strings.Count(log, "\n") != 1 || strings.Count(log, "level=ERROR") != 1 || !strings.Contains(log, test.says) || !strings.Contains(log, "SECRET_FILE") {
				t.Errorf("log:\n%s", log)
			}
			if s.refused != 1 || s.current() != "good-planted-1" {
				t.Errorf("%d refused, %q in use", s.refused, s.current())
			}
			os.RemoveAll(path)
			write(t, path, "good-planted-2")
			s.settled()
			if s.current() != "good-planted-2" || s.refused != 1 || !strings.Contains(s.logs.String(), "is in use") {
				t.Errorf("the file is good again, but %q is in use", s.current())
			}
			if strings.Contains(s.logs.String(), "planted") {
				t.Errorf("the log holds a text:\n%s", s.logs.String())
			}
		})
	}
}

// A certificate and its key can be used together only: while only one of them is replaced, the old pair stays in use.
func TestFilesThatBelongTogetherAreTakenTogether(t *testing.T) {
	mounted := &volume{t: t, dir: t.TempDir()}
	mounted.swap(map[string]string{"crt": "good-c1", "key": "good-k1"})
	crt, key := filepath.Join(mounted.dir, "crt"), filepath.Join(mounted.dir, "key")
	s := newSetting(t, crt, key)
	mounted.swap(map[string]string{"crt": "good-c2", "key": "good-k2"})
	s.settled()
	replace(t, crt, "good-c3")
	s.Look()
	replace(t, key, "good-k3")
	s.settled()
	if want := []string{"good-c1+good-k1", "good-c2+good-k2", "good-c3+good-k3"}; !slices.Equal(s.taken, want) {
		t.Errorf("taken %v, want %v", s.taken, want)
	}
}

func TestAddRefusesWhatIsBadFromTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	w := New(Config{})
	if err := w.Add(Source{Name: "SECRET_FILE", Paths: []string{path}, Read: readSmall, Apply: new(taker).apply}); err == nil || !strings.Contains(err.Error(), "SECRET_FILE: the file cannot be read") {
		t.Errorf("a missing file: %v", err)
	}
	write(t, path, "planted")
	if err := w.Add(Source{Name: "SECRET_FILE", Paths: []string{path}, Read: readSmall, Apply: new(taker).apply}); err == nil || strings.Contains(err.Error(), "planted") {
		t.Errorf("a malformed file: %v", err)
	}
}
