// Package reload reads files again when they change: secrets that are rolled, keys and certificates
// that are replaced, rights that are given and taken while the server runs.
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

// every is how often all files are looked at. A change is taken at the second look that shows it, so
// within twice that. Looking costs nothing that shows, and works alike on all file systems; notices of
// the system's are lost by some, and by links that lead elsewhere.
const every = time.Second

// Source is one or several files that are of use only together, such as a certificate and its key.
type Source struct {
	// Name is what logs and metrics call it: the setting with the path, "STRIPE_API_KEY_FILE".
	Name string
	// Paths are the files, in the order in which Apply gets their texts. Symbolic links are followed.
	Paths []string
	// Read returns a file's text, of bounded size, or says in an error what is wrong with the file.
	Read func(path string) (string, error)
	// Apply takes the texts into use, or refuses them and changes nothing. It is never called twice
	// at the same time. Its error says what to correct in the files and quotes nothing of them.
	Apply func(texts []string) error
}

// Config is what a Watcher may be given.
type Config struct {
	// Logger gets a line for each change. nil: slog.Default.
	Logger *slog.Logger
	// Observe is called after each change: used says whether the new texts are in use now. nil:
	// nobody counts.
	Observe func(source string, used bool)
}

// Watcher watches the files of its sources. Add them all, then Run it once.
type Watcher struct {
	cfg     Config
	every   time.Duration
	sources []*watched
}

// watched is a source with what was seen of it: judged was taken or refused last, seen is the newest.
type watched struct {
	Source
	judged, seen reading
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
	return &Watcher{cfg: cfg, every: every}
}

// Add reads a source and applies it at once, so that a start and a change go the same way. Its error
// is that of a file, or Apply's. Call it before Run.
func (w *Watcher) Add(source Source) error {
	first := source.look()
	if err := source.apply(first); err != nil {
		return fmt.Errorf("%s: %w", source.Name, err)
	}
	w.sources = append(w.sources, &watched{Source: source, judged: first, seen: first})
	return nil
}

// Names are those of the sources.
func (w *Watcher) Names() []string {
	names := make([]string, len(w.sources))
	for i, s := range w.sources {
		names[i] = s.Name
	}
	return names
}

// Run watches until ctx ends. Nothing of it goes on after it has returned.
func (w *Watcher) Run(ctx context.Context) {
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.Look()
		}
	}
}

// Look reads all files, and takes or refuses what is new and was there at the look before: a file that
// is written in place is short for a moment, and half a secret looks like a secret. Run calls it every
// second; it must not be called beside Run, or itself.
func (w *Watcher) Look() {
	for _, s := range w.sources {
		got := s.look()
		if got.same(s.seen) && !got.same(s.judged) {
			s.judged = got
			w.judge(s.Source, got)
		}
		s.seen = got
	}
}

// judge takes a reading into use or says why not, once for each change.
func (w *Watcher) judge(source Source, got reading) {
	err := source.apply(got)
	if err != nil {
		w.cfg.Logger.Error("a file that changed is not used: what it held before stays in use", "file", source.Name, "error", err)
	} else {
		w.cfg.Logger.Info("a file that changed is in use", "file", source.Name)
	}
	w.cfg.Observe(source.Name, err == nil)
}

func (s Source) look() reading {
	var got reading
	for _, path := range s.Paths {
		text, err := s.Read(path)
		if err != nil {
			return reading{wrong: err.Error()}
		}
		got.texts = append(got.texts, text)
	}
	return got
}

func (s Source) apply(got reading) error {
	if got.wrong != "" {
		return errors.New(got.wrong)
	}
	return s.Apply(got.texts)
}
