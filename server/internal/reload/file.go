package reload

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
)

// byteOrderMarks are the marks of UTF-8 and of both kinds of UTF-16. Some editors and shells write one before a text, where it
// would become part of the secret.
var byteOrderMarks = []string{"\ufeff", "\xfe\xff", "\xff\xfe"}

// ReadFile returns the text of a regular file of at most maxBytes; it can be empty. It refuses a path to anything else, which
// could fill the memory or block for ever. The error says what to change and quotes nothing of the file.
func ReadFile(path string, maxBytes int64) (string, error) {
	// Without O_NONBLOCK, a named pipe would block for ever.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file: name a file with the value and nothing else", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	if int64(len(text)) > maxBytes {
		return "", fmt.Errorf("%s is larger than %d bytes: name a file with the value and nothing else", path, maxBytes)
	}
	if slices.ContainsFunc(byteOrderMarks, func(mark string) bool { return strings.HasPrefix(string(text), mark) }) {
		return "", fmt.Errorf("%s begins with a byte order mark: save the file as UTF-8 without one", path)
	}
	return string(text), nil
}
