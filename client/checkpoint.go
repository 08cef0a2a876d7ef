package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Checkpoint keeps the position of a consumer in a program's own store. Pass one to Consume with [WithCheckpoint]. Its methods
// and the handler are called one after the other.
type Checkpoint interface {
	// Load returns the resume token that was stored last, or "" if there is none. Consume calls it before each stream, because
	// another instance can have had the consumer in between, and again when the stream has the consumer. If the token differs
	// then, Consume begins with another stream. No handler runs meanwhile. ctx ends after 30 s; then Consume tries again.
	Load(ctx context.Context) (token string, err error)
	// Save stores the resume token of an update, which was handled or is a bookmark (without a verification). A handler that
	// stores Update.ResumeToken in its own transaction needs Save for bookmarks only. If Save fails, Consume calls it again
	// after a wait. If another program has moved the position since Load, return [ErrBeginAgain].
	Save(ctx context.Context, update Update) error
}

// WithCheckpoint makes Consume begin after the token that checkpoint has, and save each token there. Changes are handled one
// after the other, in the order of the feed, and a handler that fails holds up all of them: so the token of a change stands
// for everything before it, and a handler can store it in the transaction with its effects.
//
// If the checkpoint has no token although the consumer was used before, Consume ends with [ErrCheckpointLost]: the effects of what
// was acknowledged can be lost with the token. That is so if the caller says that the consumer has been made ([MustExist]), if
// the checkpoint has had a token in this run, or if the service shows an acknowledgement of the consumer. To see that one, the
// caller needs the right list. So a consumer that ran without a checkpoint must be deleted, or get another name.
//
// Consume acknowledges too, so that operators see how far the consumer is. If the checkpoint has a token, the consumer must
// exist. If the service no longer has the changes after the token, Consume ends with [ErrResumeTokenExpired]. The context of a
// handler ends when its stream has broken. Consume then handles all changes after the token that it loads, also those that it
// has handled: the store can have lost its last commits.
func WithCheckpoint(checkpoint Checkpoint) ConsumeOption {
	return consumeOption(func(c *consumption) {
		if c.checkpoint = nil; checkpoint != nil {
			c.checkpoint = sendable{checkpoint}
		}
	})
}

// errDamaged: what a checkpoint has is no resume token. Consume ends with it, because another try would not help.
var errDamaged = errors.New("it is damaged")

// sendable is a Checkpoint whose tokens can be sent: grpc would return INTERNAL for another one, and Consume would try for ever.
type sendable struct{ Checkpoint }

func (s sendable) Load(ctx context.Context) (string, error) {
	token, err := s.Checkpoint.Load(ctx)
	if err == nil && !utf8.ValidString(token) {
		return "", fmt.Errorf("%w: the token is not UTF-8", errDamaged)
	}
	return token, err
}

// FileCheckpoint returns a Checkpoint in a file, for one instance of a program. Save writes the file path.new, syncs it to the
// disk and renames it to path. Load returns "" only if the file does not exist. If the file is empty or has something else than
// one resume token, it is damaged, and Consume ends with an error that names it: restore the file. If you cannot, the position is
// lost, as with [ErrResumeTokenExpired].
func FileCheckpoint(path string) Checkpoint { return fileCheckpoint(path) }

type fileCheckpoint string

func (path fileCheckpoint) Load(context.Context) (string, error) {
	text, err := os.ReadFile(string(path))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, isNotOfToken) {
		return "", fmt.Errorf("the file %s: %w: its %d bytes are not one resume token", string(path), errDamaged, len(text))
	}
	return token, nil
}

// isNotOfToken reports whether a resume token cannot have a character: tokens are URL-safe.
func isNotOfToken(r rune) bool { return r <= ' ' || r > '~' }

func (path fileCheckpoint) Save(_ context.Context, update Update) error {
	// The name is fixed, so that a program that is killed here leaves one file at most.
	file, err := os.OpenFile(string(path)+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(update.ResumeToken + "\n")
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), string(path))
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncFolder(filepath.Dir(string(path)))
}

// syncFolder makes a rename durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
