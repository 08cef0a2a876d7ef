package mailer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/address"
	"example.com/verification-status/server/tests/rig"
)

// received is a mail in the inbox.
type received struct {
	name    string // of the Message-ID, without the domain
	subject string
	text    string
}

// inbox is Mailpit: an SMTP server that keeps all mails, and shows them over HTTP.
type inbox struct {
	t    *testing.T
	smtp string
	api  string
	http *http.Client

	mu      sync.Mutex
	seen    map[string]bool       // Mailpit's ids
	mails   map[string][]received // by address, in the order of arrival
	changed chan struct{}         // closed and replaced at each arrival
}

func startInbox(t *testing.T) *inbox {
	t.Helper()
	b := &inbox{
		t: t, smtp: address.Free(t), api: "http://" + address.Free(t), http: rig.NewHTTPClient(t),
		seen: map[string]bool{}, mails: map[string][]received{}, changed: make(chan struct{}),
	}
	rig.Begin(t, exec.Command(rig.NeedProgram(t, "mailpit"), "--smtp", b.smtp, "--listen", b.api[len("http://"):], "--max", "0",
		"--database", filepath.Join(t.TempDir(), "mailpit.db"), "--disable-version-check", "--smtp-disable-rdns", "--quiet"))
	rig.Await(t, "Mailpit is ready", func() bool {
		response, err := b.http.Get(b.api + "/readyz")
		if err != nil {
			return false
		}
		_, err = rig.ReadAll(response)
		return err == nil && response.StatusCode == http.StatusOK
	})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(40 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			if err := b.look(); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	return b
}

// look takes over what has arrived since the last look.
func (b *inbox) look() error {
	type summary struct {
		ID, MessageID, Subject string
		To                     []struct{ Address string }
	}
	const page = 100
	var fresh []summary
	for start := 0; ; start += page {
		var answer struct{ Messages []summary }
		if err := b.get(fmt.Sprintf("/api/v1/messages?start=%d&limit=%d", start, page), &answer); err != nil {
			return err
		}
		known := false
		for _, m := range answer.Messages { // the newest first
			if b.isSeen(m.ID) {
				known = true
			} else if !slices.ContainsFunc(fresh, func(other summary) bool { return other.ID == m.ID }) {
				fresh = append(fresh, m)
			}
		}
		if known || len(answer.Messages) < page {
			break
		}
	}
	for _, m := range slices.Backward(fresh) {
		var whole struct{ Text string }
		if err := b.get("/api/v1/message/"+m.ID, &whole); err != nil {
			return err
		}
		if len(m.To) != 1 {
			return fmt.Errorf("mail %s goes to %v", m.MessageID, m.To)
		}
		b.add(m.ID, m.To[0].Address, received{name: strings.SplitN(m.MessageID, "@", 2)[0], subject: m.Subject, text: whole.Text})
	}
	return nil
}

func (b *inbox) get(path string, into any) error {
	response, err := b.http.Get(b.api + path)
	if err != nil {
		return err
	}
	text, err := rig.ReadAll(response)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", path, response.Status, text)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}

func (b *inbox) isSeen(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen[id]
}

func (b *inbox) add(id, address string, m received) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen[id] = true
	b.mails[address] = append(b.mails[address], m)
	close(b.changed)
	b.changed = make(chan struct{})
}

// of returns the mails to an address, and a channel that is closed at the next arrival.
func (b *inbox) of(address string) ([]received, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.mails[address]), b.changed
}

// all returns all mails by address.
func (b *inbox) all() map[string][]received {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mails
}
