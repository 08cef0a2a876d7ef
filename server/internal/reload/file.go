package reload

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// ReadFile returns the text of a regular file of maxBytes at the most, which may be none: a path to
// something else must not fill the memory, nor wait for anything but the disk. The error says what to
// change and quotes nothing of the file.
func ReadFile(path string, maxBytes int64) (string, error) {
	// A named pipe would block for ever without the flag. Only regular files are read.
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
		return "", fmt.Errorf("%s is no regular file: name one that holds the value and nothing else", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	if int64(len(text)) > maxBytes {
		return "", fmt.Errorf("%s is greater than %d bytes: name the file that holds the value and nothing else", path, maxBytes)
	}
	return string(text), nil
}
