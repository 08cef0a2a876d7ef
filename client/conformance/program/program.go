package program

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Program answers commands. Make one with its exported fields, and call Run.
type Program struct {
	// Dial makes a client. It does not connect.
	Dial func(Target) (Client, error)
	// Limit changes settings to those that the client can have; nil: it can have any.
	Limit func(Settings) Settings

	out      sync.Mutex
	to       *json.Encoder
	settings Settings
	clients  map[string]Client
	watches  map[string]*reader
	running  sync.WaitGroup
}

// command is one line of stdin.
type command struct {
	ID           int64    `json:"id"`
	Do           string   `json:"do"`
	Client       string   `json:"client"`
	Watch        string   `json:"watch"`
	Addresses    []string `json:"addresses"`
	Token        string   `json:"token"`
	Session      string   `json:"session"`
	Reference    string   `json:"reference"`
	UntilSettled bool     `json:"until_settled"`
	Bookmarks    bool     `json:"bookmarks"`
	ResumeFrom   string   `json:"resume_from"`
	Consumer     string   `json:"consumer"`
	MustExist    bool     `json:"must_exist"`
	Timeout      int64    `json:"timeout_ms"`
	Backoff      float64  `json:"backoff_ms"`
	MaxBackoff   float64  `json:"backoff_max_ms"`
	Heartbeat    float64  `json:"heartbeat_ms"`
}

// fields are those of an answer.
type fields map[string]any

// Run reads commands from in until it ends, and writes events to out. It returns an error if a line is no command.
func (p *Program) Run(in io.Reader, out io.Writer) error {
	p.to = json.NewEncoder(out)
	p.to.SetEscapeHTML(false)
	p.clients, p.watches = make(map[string]Client), make(map[string]*reader)
	p.write(fields{"event": "ready", "protocol": 1})
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("no command: %q: %w", lines.Text(), err)
		}
		p.do(c)
	}
	for _, c := range p.clients {
		_ = c.Close()
	}
	p.running.Wait()
	return lines.Err()
}

func (p *Program) write(event any) {
	p.out.Lock()
	defer p.out.Unlock()
	_ = p.to.Encode(event) // the kit is gone: stdin ends too
}

// answer answers a command with these fields, or with those of an error.
func (p *Program) answer(c command, f fields, err error) {
	if errors.Is(err, errUnsupported) {
		f = fields{"unsupported": true}
	} else if err != nil {
		failed := failureOf(err)
		f = fields{"code": failed.Code, "reason": failed.Reason, "retry_after_ms": failed.RetryAfter, "message": failed.Message}
	}
	if f == nil {
		f = fields{}
	}
	f["event"], f["id"] = "answer", c.ID
	p.write(f)
}

// do does one command. What waits runs in a goroutine of its own.
func (p *Program) do(c command) {
	switch c.Do {
	case "set":
		p.set(c)
	case "connect":
		made, err := p.Dial(Target{p.settings, c.Addresses, c.Token})
		if err == nil {
			p.clients[c.Client] = made
		}
		p.answer(c, nil, err)
	case "watch", "watch_all", "consume":
		p.begin(c)
	case "pause", "resume", "stop":
		p.watches[c.Watch].change(c.Do)
		p.answer(c, nil, nil)
	case "status", "retry":
		p.running.Go(p.call(p.clients[c.Client], c))
	case "close":
		closing := p.clients[c.Client]
		delete(p.clients, c.Client)
		p.running.Go(func() { p.answer(c, nil, closing.Close()) })
	default:
		p.answer(c, nil, errUnsupported)
	}
}

func (p *Program) set(c command) {
	p.settings = Settings{milliseconds(c.Backoff), milliseconds(c.MaxBackoff), milliseconds(c.Heartbeat)}
	if p.Limit != nil {
		p.settings = p.Limit(p.settings)
	}
	p.answer(c, fields{
		"backoff_ms": inMilliseconds(p.settings.Backoff), "backoff_max_ms": inMilliseconds(p.settings.MaxBackoff),
		"heartbeat_ms": inMilliseconds(p.settings.Heartbeat),
	}, nil)
}

// call returns a function that makes one call and answers.
func (p *Program) call(with Client, c command) func() {
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), milliseconds(float64(c.Timeout)))
		defer cancel()
		if c.Do == "retry" {
			l, err := with.Retry(ctx, c.Session)
			p.answer(c, fields{"session": l.Session, "client_secret": l.ClientSecret, "url": l.URL, "printed": l.Printed}, err)
			return
		}
		v, err := with.Status(ctx, c.Session, c.Reference)
		p.answer(c, fields{
			"session": v.GetSessionId(), "revision": v.GetRevision(), "status": statusName(v), "outcome_revision": v.GetOutcomeRevision(),
		}, err)
	}
}

func statusName(v *verificationv1.Verification) string {
	return strings.TrimPrefix(v.GetStatus().String(), "STATUS_")
}

func reasonName(r verificationv1.ErrorReason) string {
	if r == verificationv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return ""
	}
	return strings.TrimPrefix(r.String(), "ERROR_REASON_")
}

func milliseconds(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// report writes the event of an update or of a bookmark.
func (p *Program) report(watch string, u client.Update) {
	v := u.Verification
	if v == nil {
		p.write(fields{"event": "bookmark", "watch": watch, "token": u.ResumeToken})
		return
	}
	p.write(fields{
		"event": "update", "watch": watch, "session": v.GetSessionId(), "revision": v.GetRevision(), "status": statusName(v),
		"outcome_revision": v.GetOutcomeRevision(), "reset": u.Reset, "token": u.ResumeToken,
	})
}
