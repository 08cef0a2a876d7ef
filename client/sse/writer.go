package sse

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// writer writes the format of HTML's "Server-sent events". Each write has a deadline: a browser that reads nothing must not keep a
// stream open for ever.
type writer struct {
	http.ResponseWriter
	timeout time.Duration
}

// event is one block of the format, without the fields that are empty or 0. From an event without a name the browser takes only id
// and retry.
type event struct {
	name, id, data string
	retry          time.Duration
}

// begin sends the header. It returns http.ErrNotSupported, and sends nothing, if the connection can neither flush nor set
// deadlines.
func (w *writer) begin(retry time.Duration) error {
	control := http.NewResponseController(w.ResponseWriter)
	if err := control.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache, no-transform") // no-transform: some proxies compress otherwise, and buffer
	header.Set("X-Accel-Buffering", "no")                 // nginx
	header.Set("X-Content-Type-Options", "nosniff")
	if err := control.Flush(); err != nil {
		return err
	}
	return w.event(event{retry: retry})
}

// event sends events in one write. An event with a name but no data gets empty data, because browsers drop it otherwise.
func (w *writer) event(events ...event) error {
	var text strings.Builder
	for _, e := range events {
		if e.retry > 0 {
			fmt.Fprintf(&text, "retry: %d\n", e.retry.Milliseconds())
		}
		if e.id != "" {
			fmt.Fprintf(&text, "id: %s\n", e.id)
		}
		if e.name != "" {
			if e.data == "" {
				e.data = "{}"
			}
			fmt.Fprintf(&text, "event: %s\ndata: %s\n", e.name, e.data)
		}
		text.WriteByte('\n')
	}
	return w.write(text.String())
}

func (w *writer) write(text string) error {
	control := http.NewResponseController(w.ResponseWriter)
	if err := control.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(w.ResponseWriter, text); err != nil {
		return err
	}
	if err := control.Flush(); err != nil {
		return err
	}
	// HTTP/2 resets a stream whose deadline passes even while nothing is written.
	return control.SetWriteDeadline(time.Time{})
}

// finish sets a deadline for what net/http writes after the handler.
func (w *writer) finish() {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.timeout))
}
