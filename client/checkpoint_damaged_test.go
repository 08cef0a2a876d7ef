package client_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// TestADamagedFileCheckpointEndsConsume: the error names the file. A file that is damaged is never taken for one that is not there, and
// the consumer is never taken for the one to blame.
func TestADamagedFileCheckpointEndsConsume(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            "",
		"an empty line":    "\n",
		"zeros":            strings.Repeat("\x00", 64),
		"not UTF-8":        "dG9r\xff\xfeZW4",
		"two lines":        "dG9r\nZW4\n",
		"zeros at the end": "dG9rZW4" + strings.Repeat("\x00", 8),
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, server *clienttest.Server) {
				makeMailer(t, server, time.Second)
				flip(server, "vs_1", 1)
				path := filepath.Join(t.TempDir(), "position")
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				r := consume(t, server.Client(), nil, client.WithCheckpoint(client.FileCheckpoint(path)))
				_ = r.stop()
				if r.err == nil || !strings.Contains(r.err.Error(), path) || errors.Is(r.err, client.ErrConsumerNotFound) {
					t.Errorf("Consume returned %v; want an error of the file %s", r.err, path)
				}
				r.want("with a damaged checkpoint")
				if after, err := os.ReadFile(path); err != nil || string(after) != text {
					t.Errorf("the file has %q, %v afterwards; want it as it was", after, err)
				}
			})
		})
	}
}

// TestACheckpointThatIsNoTextEndsConsume: such a token cannot be sent, and another try would not help.
func TestACheckpointThatIsNoTextEndsConsume(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		makeMailer(t, server, time.Second)
		r := consume(t, server.Client(), nil, client.WithCheckpoint(&ledger{token: "\xff"}))
		_ = r.stop()
		if r.err == nil || !strings.Contains(r.err.Error(), "UTF-8") {
			t.Errorf("Consume returned %v; want an error that says what is wrong with the token", r.err)
		}
	})
}

// TestATokenThatIsNotTheConsumersNamesTheCheckpoint: the token can be damaged too, so the error must not blame the consumer alone.
func TestATokenThatIsNotTheConsumersNamesTheCheckpoint(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		makeMailer(t, server, time.Second)
		r := consume(t, server.Client(), nil, client.WithCheckpoint(&ledger{token: "half-a-tok"}))
		r.wantEnd(client.ErrConsumerNotFound)
		if !strings.Contains(r.err.Error(), "checkpoint") {
			t.Errorf("Consume returned %v; want an error that names the checkpoint", r.err)
		}
	})
}
