package sse

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// browser is an EventSource as HTML defines it. It reconnects when the test says so.
type browser struct {
	t           *testing.T
	client      *http.Client
	url         string
	lastEventID string
	retry       time.Duration

	response *http.Response
	lines    *bufio.Reader
	lives    int // "live" events so far
	cancel   context.CancelFunc
}

// dispatched is an event that the page sees.
type dispatched struct{ name, data string }

// connect makes a request, with Last-Event-ID if there was one.
func (b *browser) connect() {
	b.t.Helper()
	b.close()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	b.cancel = cancel
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	if b.lastEventID != "" {
		request.Header.Set("Last-Event-ID", b.lastEventID)
	}
	if b.response, err = b.client.Do(request); err != nil {
		b.t.Fatal(err)
	}
	b.lines = bufio.NewReader(b.response.Body)
}

func (b *browser) close() {
	if b.response != nil {
		b.cancel()
		b.response.Body.Close()
		b.response = nil
	}
}

// next parses up to the next event that is not "live"; false at the end of the stream.
func (b *browser) next() (dispatched, bool) {
	b.t.Helper()
	for {
		event, ok := b.nextOfAll()
		if !ok || event.name != "live" {
			return event, ok
		}
	}
}

// wantLive reads the next event and checks that it is "live".
func (b *browser) wantLive() {
	b.t.Helper()
	if event, ok := b.nextOfAll(); !ok || event.name != "live" {
		b.t.Fatalf("event %+v, open %v; want live", event, ok)
	}
}

// nextOfAll parses up to the next event that the page sees; false at the end of the stream.
func (b *browser) nextOfAll() (dispatched, bool) {
	b.t.Helper()
	var name string
	var data []string
	id := b.lastEventID
	for {
		line, err := b.lines.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return dispatched{}, false
		}
		if err != nil {
			b.t.Fatalf("the stream broke: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			b.lastEventID = id
			if name == "live" {
				b.lives++
			}
			if len(data) > 0 {
				return dispatched{name, strings.Join(data, "\n")}, true
			}
			name = ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "data":
			data = append(data, value)
		case "id":
			id = value
		case "retry":
			ms, err := strconv.Atoi(value)
			if err != nil {
				b.t.Fatalf("retry: %q", value)
			}
			b.retry = time.Duration(ms) * time.Millisecond
		default:
			b.t.Fatalf("line %q", line)
		}
	}
}

// want reads the next event and checks its name and that its data has each of these texts.
func (b *browser) want(name string, texts ...string) {
	b.t.Helper()
	event, ok := b.next()
	if !ok || event.name != name {
		b.t.Fatalf("event %+v, open %v; want %s", event, ok, name)
	}
	for _, text := range texts {
		if !strings.Contains(strings.ReplaceAll(event.data, " ", ""), text) {
			b.t.Errorf("%s has data %s; want %s in it", name, event.data, text)
		}
	}
}

// wantEnd checks that the stream ends without another event.
func (b *browser) wantEnd() {
	b.t.Helper()
	if event, ok := b.next(); ok {
		b.t.Errorf("event %+v; want the end", event)
	}
}

// site is a web program with one user, that may watch vs_1, and the fake service behind it.
type site struct {
	*Handler
	backend *clienttest.Server
	web     *httptest.Server
	logged  *strings.Builder // read it when the web server is closed
}

// newSite starts a site. The options run before the web server starts, so that they can change it.
func newSite(t *testing.T, change ...func(*site)) *site {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	s := &site{backend: clienttest.New(t), logged: &strings.Builder{}}
	s.Handler = &Handler{
		Client:    s.backend.Client(),
		Authorize: func(*http.Request) (Viewer, error) { return Viewer{User: "ada", Subject: client.Session("vs_1")}, nil },
		Logger:    slog.New(slog.NewTextHandler(s.logged, nil)),
	}
	s.web = httptest.NewUnstartedServer(s.Handler)
	for _, f := range change {
		f(s)
	}
	if s.web.URL == "" {
		s.web.Start()
	}
	t.Cleanup(s.web.Close)
	return s
}

func (s *site) browser(t *testing.T) *browser {
	b := &browser{t: t, client: s.web.Client(), url: s.web.URL}
	t.Cleanup(b.close)
	return b
}

func (s *site) set(status verificationv1.Status) {
	s.backend.Set(&verificationv1.Verification{SessionId: "vs_1", Status: status})
}

const (
	requiresInput = verificationv1.Status_STATUS_REQUIRES_INPUT
	processing    = verificationv1.Status_STATUS_PROCESSING
	verified      = verificationv1.Status_STATUS_VERIFIED
)
