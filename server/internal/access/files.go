package access

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFileBytes bounds each file: a path to something else must not fill the memory.
const maxFileBytes = 1 << 20

// watched are files that mean something together. They are looked at by name, again and again:
// Kubernetes swaps a symbolic link above them, which no watch of the file itself would notice.
type watched struct {
	setting string
	paths   []string
	load    func(contents [][]byte) error // puts them in force, or leaves everything as it was

	seen string // what they were when they were looked at last: a digest, or why they could not be read
}

// reload puts the files in force if they have changed since it was called last. An error is told once
// for each change. It must not be called at the same time as itself.
func (w *watched) reload() (changed bool, err error) {
	contents, err := w.read()
	seen := digest(contents)
	if err != nil {
		seen = err.Error()
	}
	if seen == w.seen {
		return false, nil
	}
	w.seen = seen
	if err == nil {
		err = w.load(contents)
	}
	if err != nil {
		return true, fmt.Errorf("%s: %s: %w", w.setting, strings.Join(w.paths, " and "), err)
	}
	return true, nil
}

func (w *watched) read() ([][]byte, error) {
	contents := make([][]byte, len(w.paths))
	for i, path := range w.paths {
		var err error
		if contents[i], err = readFile(path); err != nil {
			return nil, err
		}
	}
	return contents, nil
}

func digest(contents [][]byte) string {
	all := sha256.New()
	for _, content := range contents {
		sum := sha256.Sum256(content)
		all.Write(sum[:])
	}
	return string(all.Sum(nil))
}

// readFile reads a regular file of a bounded size. A named pipe would block for ever.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	if len(content) > maxFileBytes {
		return nil, fmt.Errorf("%s is greater than %d bytes", path, maxFileBytes)
	}
	return content, nil
}
