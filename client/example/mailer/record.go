package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// record has the names of the mails that were sent, each with a note: a file of one directory, which all instances on a machine share.
// Instances on several machines share a table of a database instead, with the name as its key. A record has no address, no link and no
// text of a mail.
type record struct {
	dir   *os.Root // nil: the record is in memory
	added atomic.Int64

	mu     sync.Mutex
	memory map[string]string // notes by name
}

const (
	// keptFor is how long a mail stays in the record. It is longer than the service keeps its feed, so an outcome that comes again is
	// known. The service can archive a session later than that, and sends its outcome again then: but without a reference, so there
	// is no mail.
	keptFor = 60 * 24 * time.Hour
	// keptNewest is how many of the newest names stay however old they seem, because a clock can be wrong. A consumer repeats at most
	// 1,000 outcomes, which have up to five names each.
	keptNewest = 5000
	// cleanEvery is the number of added names after which old ones are removed.
	cleanEvery = 1000
)

// suffixSending makes the name of a mail that is about to be sent, or of an entry that is being written. It says nothing about the mail.
const suffixSending = ".sending"

// nameStart is reserved at the start, to see if the record can be written.
const nameStart = "start"

// errRecord means that the record cannot be read or written. No mail is sent then.
var errRecord = errors.New("the record of sent mails")

// openRecord opens a directory, removes old names, and sees if it can be written. It creates the directory, unless that must exist.
// With an empty path the record ends with the process.
func openRecord(path string, mustExist bool) (*record, error) {
	if path == "" {
		return &record{memory: map[string]string{}}, nil
	}
	if !mustExist {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("%w: %w", errRecord, err)
		}
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	r := &record{dir: dir}
	if err := errors.Join(r.failed(r.clean()), r.reserve(nameStart)); err != nil {
		_ = dir.Close()
		return nil, err
	}
	return r, nil
}

// failed wraps an error in errRecord, with the directory.
func (r *record) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w in %s: %w", errRecord, r.dir.Name(), err)
}

// clean removes names that are older than keptFor and not among the keptNewest.
func (r *record) clean() error {
	entries, err := fs.ReadDir(r.dir.FS(), ".")
	if err != nil || len(entries) <= keptNewest {
		return err
	}
	var files []fs.FileInfo
	for _, entry := range entries {
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue // another instance has removed it, or it is not of the record
		}
		if err != nil {
			return err
		}
		files = append(files, info)
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	oldest := time.Now().Add(-keptFor)
	for _, file := range files[min(keptNewest, len(files)):] {
		if file.ModTime().After(oldest) {
			continue
		}
		if err := r.dir.Remove(file.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// has reports whether a name is in the record.
func (r *record) has(name string) (bool, error) {
	_, known, err := r.note(name)
	return known, err
}

// note returns the note of a name, and whether the name is in the record.
func (r *record) note(name string) (note string, known bool, err error) {
	if r.dir == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		note, known = r.memory[name]
		return note, known, nil
	}
	text, err := r.dir.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return string(text), err == nil, r.failed(err)
}

// reserve returns an error if add could not add a name. It writes the name with suffixSending, so that add needs no more room.
func (r *record) reserve(name string) error {
	if r.dir == nil {
		return nil
	}
	return r.failed(errors.Join(r.write(name+suffixSending, noteSent), r.sync()))
}

// add adds a name with a note, or replaces its note. Once it returns nil, both outlast a crash of the machine. After an error or a crash
// the name is in the record with its note, or is not, and add can be called again.
func (r *record) add(name, note string) error {
	if r.dir == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.memory[name] = note
		return nil
	}
	if err := r.write(name+suffixSending, note); err != nil {
		return r.failed(err)
	}
	if err := errors.Join(r.dir.Rename(name+suffixSending, name), r.sync()); err != nil {
		return r.failed(err)
	}
	if r.added.Add(1)%cleanEvery == 0 {
		if err := r.clean(); err != nil {
			slog.Warn("old names stay in the record of sent mails", "error", err)
		}
	}
	return nil
}

// write replaces the content of a file. It makes the file shorter at the end only: a full disk has room for what it had before.
func (r *record) write(name, text string) error {
	file, err := r.dir.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Truncate(int64(len(text))), file.Sync(), file.Close())
}

// sync has the names in the directory outlast a crash of the machine.
func (r *record) sync() error {
	dir, err := r.dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (r *record) close() error {
	if r.dir == nil {
		return nil
	}
	return r.dir.Close()
}
