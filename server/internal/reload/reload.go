// Package reload reads files again when they change: secrets that are rolled, keys and certificates
// that are replaced while the server runs.
//
// It refuses to know what is in the files. Whoever adds one says what a good text is and takes it;
// as long as there is none, the one before stays in use. Texts are in none of its logs.
package reload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

const (
	// settle is for how long files must look the same before they are taken: one that is written in
	// place is short for a moment, and half a secret looks like a secret.
	settle = 2 * time.Second
	// quiet is the pause between a notification and the look at the files: changes come in swarms.
	quiet = 50 * time.Millisecond
	// poll is how often files are looked at without a notification: network file systems send none,
	// nor does a file behind a symbolic link that leads to another directory.
	poll = 30 * time.Second
)

// Source is one or several files that are of use only together, such as a certificate and its key.
type Source struct {
	// Name is what logs and metrics call it: the setting with the path, "STRIPE_API_KEY_FILE".
	Name string
	// Paths are the files, in the order in which Apply gets their texts. Symbolic links are followed.
	Paths []string
	// Apply takes the texts into use, or refuses them and changes nothing. It is never called twice
	// at the same time. Its error says what to correct in the files and quotes nothing of them.
	Apply func(texts []string) error
}

// Config is what a Watcher needs. Read is required.
type Config struct {
	// Read returns a file's text, of bounded size, or says in an error what is wrong with the file.
	Read func(path string) (string, error)
	// Logger gets a line for each change. nil: slog.Default.
	Logger *slog.Logger
	// Observe is called after each change: used says whether the new texts are in use now. nil:
	// nobody counts.
	Observe func(source string, used bool)
}

// Watcher watches the files of its sources. Add them all, then Run it once.
type Watcher struct {
	cfg          Config
	settle, poll time.Duration // see the constants
	sources      []*watched
}

// watched is a source with what was seen of it.
type watched struct {
	Source
	// judged is the last reading that was taken or refused; seen is the newest one, which has looked
	// like that since then.
	judged, seen reading
	since        time.Time
}

// reading is what one look at the files has shown: their texts, or what is wrong with one of them.
type reading struct {
	texts []string
	wrong string
}

func (r reading) same(other reading) bool {
	return r.wrong == other.wrong && slices.Equal(r.texts, other.texts)
}

// New makes a Watcher of nothing.
func New(cfg Config) *Watcher {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, bool) {}
	}
	return &Watcher{cfg: cfg, settle: settle, poll: poll}
}

// Add reads a source and applies it at once, so that a start and a change go the same way. Its error
// is that of a file, or Apply's. Call it before Run.
func (w *Watcher) Add(source Source) error {
	first := w.read(source)
	if first.wrong != "" {
		return fmt.Errorf("%s: %w", source.Name, errors.New(first.wrong))
	}
	if err := source.Apply(first.texts); err != nil {
		return fmt.Errorf("%s: %w", source.Name, err)
	}
	w.sources = append(w.sources, &watched{Source: source, judged: first, seen: first})
	return nil
}

// Run watches until ctx ends. Nothing of it goes on after it has returned.
func (w *Watcher) Run(ctx context.Context) {
	if len(w.sources) == 0 {
		return
	}
	notices := w.listen()
	defer notices.close()
	polling := time.NewTicker(w.poll)
	defer polling.Stop()
	look, due := time.NewTimer(0), true // at once: they may have changed since Add
	defer look.Stop()
	soon := func(pause time.Duration) {
		if !due {
			look.Reset(pause)
			due = true
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-notices.events:
			soon(quiet)
		case err := <-notices.errors:
			w.cfg.Logger.Debug("notices of files were lost: looking at all of them", "error", err)
			soon(quiet)
		case <-polling.C:
			notices.watch() // a directory that was away has no watch any more
			soon(0)
		case <-look.C:
			due = false
			if w.look(time.Now()) {
				soon(w.settle)
			}
		}
	}
}

// look reads all files, and takes or refuses what has settled. again says that something has not.
func (w *Watcher) look(now time.Time) (again bool) {
	for _, s := range w.sources {
		got := w.read(s.Source)
		if !got.same(s.seen) {
			s.seen, s.since = got, now
		}
		switch {
		case got.same(s.judged):
		case now.Sub(s.since) < w.settle:
			again = true
		default:
			s.judged = got
			w.judge(s.Source, got)
		}
	}
	return again
}

func (w *Watcher) read(source Source) reading {
	var got reading
	for _, path := range source.Paths {
		text, err := w.cfg.Read(path)
		if err != nil {
			return reading{wrong: err.Error()}
		}
		got.texts = append(got.texts, text)
	}
	return got
}

// judge takes a reading into use or says why not, once for each change.
func (w *Watcher) judge(source Source, got reading) {
	var err error
	if got.wrong != "" {
		err = errors.New(got.wrong)
	} else {
		err = source.Apply(got.texts)
	}
	if err != nil {
		w.cfg.Logger.Error("a file that changed is not used: what it held before stays in use", "file", source.Name, "error", err)
	} else {
		w.cfg.Logger.Info("a file that changed is in use", "file", source.Name)
	}
	w.cfg.Observe(source.Name, err == nil)
}
