package reload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// every is the time between two reads of all files. A change is applied at the second read that shows it, so within twice that
// time. Reads cost next to nothing, and work alike on all file systems. The system's notifications get lost on some file
// systems, and behind links whose target is replaced.
const every = time.Second

// settleTime is the time between the two reads of a look on request.
const settleTime = 100 * time.Millisecond

// Source is one file, or several files that are used only together, such as a certificate and its key.
type Source struct {
	// Name is its name in logs and metrics: the setting with the path, such as "STRIPE_API_KEY_FILE".
	Name string
	// Paths are the files, in the order in which Apply gets their texts. Symbolic links are followed.
	Paths []string
	// Read returns the text of a file, of bounded size. Its error says what is wrong with the file.
	Read func(path string) (string, error)
	// Apply takes the texts into use. It returns an error and changes nothing if it refuses them; the error says what to
	// correct in the files and quotes nothing of them. Apply is never called concurrently.
	Apply func(texts []string) error
}

// Config configures a Watcher. The zero value works.
type Config struct {
	// Logger gets a line for each change. nil: slog.Default.
	Logger *slog.Logger
	// Observe, if not nil, is called after each change. used is true if the new texts are in use now.
	Observe func(source string, used bool)
}

// Watcher watches the files of its sources. Call Add for each source, then Run once.
type Watcher struct {
	config    Config
	every     time.Duration
	sources   []*watched
	requested chan struct{} // see LookNow
}

// watched is a source with two readings of it: judged was applied or refused last, seen is the newest.
type watched struct {
	Source
	judged, seen reading
	refused      bool // judged was refused
}

// reading is the result of reading the files of a source once: their texts, or what is wrong with one file.
type reading struct {
	texts []string
	wrong string
}

func (r reading) same(other reading) bool {
	return r.wrong == other.wrong && slices.Equal(r.texts, other.texts)
}

// New returns a Watcher without sources.
func New(config Config) *Watcher {
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Observe == nil {
		config.Observe = func(string, bool) {}
	}
	return &Watcher{config: config, every: every, requested: make(chan struct{}, 1)}
}

// Add reads a source and applies it at once, so that a start works the same way as a change. It returns the error of a file, or
// that of Apply. Call it before Run.
func (w *Watcher) Add(source Source) error {
	first := source.look()
	if err := source.apply(first); err != nil {
		return fmt.Errorf("%s: %w", source.Name, err)
	}
	w.sources = append(w.sources, &watched{Source: source, judged: first, seen: first})
	return nil
}

// Names returns the names of the sources.
func (w *Watcher) Names() []string {
	names := make([]string, len(w.sources))
	for i, s := range w.sources {
		names[i] = s.Name
	}
	return names
}

// Run watches until ctx ends. When it returns, no work of it is left.
func (w *Watcher) Run(ctx context.Context) {
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.Look()
		case <-w.requested:
			w.lookOnRequest(ctx)
		}
	}
}

// LookNow has Run read all files at once, and log one line about it. It does not wait for that. It is safe for concurrent use, also
// before Run. Several calls before Run gets to it are one.
func (w *Watcher) LookNow() {
	select {
	case w.requested <- struct{}{}:
	default:
	}
}

// lookOnRequest reads all files twice, like two calls of Look that come soon after each other. A file that still changes meanwhile is
// left to the next calls.
func (w *Watcher) lookOnRequest(ctx context.Context) {
	changed := w.look()
	select {
	case <-ctx.Done():
		return
	case <-time.After(settleTime):
	}
	changed = append(changed, w.look()...)
	var refused []string
	for _, s := range w.sources {
		if s.refused {
			refused = append(refused, s.Name)
		}
	}
	w.config.Logger.Info("the files that settings name were read again on request; for other settings restart the server",
		"files", len(w.sources), "changed", strings.Join(changed, ", "), "refused", strings.Join(refused, ", "))
}

// Look reads all files. It applies a change only if the call before it has read the same texts: a file that is written in place
// is short for a moment, and half a secret looks like a secret. Run calls it every second. Do not call it concurrently with
// itself or Run.
func (w *Watcher) Look() { w.look() }

// look does what Look does, and returns the names of the sources with a change that was applied or refused.
func (w *Watcher) look() (changed []string) {
	for _, s := range w.sources {
		got := s.look()
		if got.same(s.seen) && !got.same(s.judged) {
			s.judged = got
			s.refused = w.judge(s.Source, got) != nil
			changed = append(changed, s.Name)
		}
		s.seen = got
	}
	return changed
}

// judge applies a reading, logs the result, and returns the error of a refusal.
func (w *Watcher) judge(source Source, got reading) error {
	err := source.apply(got)
	if err != nil {
		w.config.Logger.Error("a changed file was refused: its previous text stays in use", "file", source.Name, "error", err)
	} else {
		w.config.Logger.Info("a changed file is in use", "file", source.Name)
	}
	w.config.Observe(source.Name, err == nil)
	return err
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
