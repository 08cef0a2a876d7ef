package reload

import (
	"path/filepath"
	"slices"

	"github.com/fsnotify/fsnotify"
)

// notices are the file system's word that something changed. Without them the poll is left.
type notices struct {
	events <-chan fsnotify.Event
	// errors may have been events: an overflow is one.
	errors <-chan error

	watcher     *fsnotify.Watcher // nil where there can be none
	directories []string
	cfg         Config
}

// listen watches the directories of all files, not the files: Kubernetes replaces the link "..data"
// beside them, and a file that is replaced by renaming takes its own watch away.
func (w *Watcher) listen() *notices {
	n := &notices{cfg: w.cfg}
	for _, s := range w.sources {
		for _, path := range s.Paths {
			n.directories = append(n.directories, filepath.Dir(path))
		}
	}
	slices.Sort(n.directories)
	n.directories = slices.Compact(n.directories)
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		w.cfg.Logger.Warn("files cannot be watched here: they are looked at now and then", "every", poll, "error", err)
		return n
	}
	n.watcher, n.events, n.errors = watcher, watcher.Events, watcher.Errors
	n.watch()
	return n
}

// watch adds the directories that are not watched.
func (n *notices) watch() {
	if n.watcher == nil {
		return
	}
	for _, directory := range n.directories {
		if err := n.watcher.Add(directory); err != nil {
			n.cfg.Logger.Debug("a directory cannot be watched: it is looked at now and then", "directory", directory, "error", err)
		}
	}
}

// close ends the watch and waits for its end.
func (n *notices) close() {
	if n.watcher != nil {
		_ = n.watcher.Close()
	}
}
