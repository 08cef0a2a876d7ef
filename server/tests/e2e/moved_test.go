package e2e

import (
	"bufio"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/sse"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestG5_ABrowserIsNotShownASessionThatGotAnotherReference: a session has the reference of the wrong person, and an
// operator corrects it in the metadata. The open page of the first person shows nothing of what follows.
func TestG5_ABrowserIsNotShownASessionThatGotAnotherReference(t *testing.T) {
	redis := redistest.Start(t)
	env := rig.Settings(redis.Addr, "REFERENCE_METADATA_KEY=case_id")
	writer, reader := rig.Serve(t, env), rig.Serve(t, env)
	sender := rig.NewHTTPClient(t)
	second := time.Now().Unix()
	send := func(id, kind string, after int64, reference string, object rig.Fields) {
		t.Helper()
		object["metadata"], object["created"] = rig.Fields{"case_id": reference}, second
		rig.Deliver(t, sender, writer.Webhook, rig.NewEvent(id, kind, "vs_1", second+after, nil, object))
	}
	send("evt_1", "created", 0, "wrong", rig.Fields{})

	watcher, err := client.Dial(reader.GRPC, client.WithPlaintext())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = watcher.Close() })
	site := httptest.NewServer(&sse.Handler{
		Client: watcher, Logger: slog.New(slog.DiscardHandler),
		Authorize: func(*http.Request) (sse.Viewer, error) {
			return sse.Viewer{User: "wrong", Subject: client.Reference("wrong")}, nil
		},
	})
	t.Cleanup(site.Close)
	lastEventID := ""
	// read connects as an EventSource does, and returns the events up to and with one of these names.
	read := func(until string, shown func()) (seen []string) {
		t.Helper()
		request, err := http.NewRequestWithContext(rig.Within(t, rig.Soon), http.MethodGet, site.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if lastEventID != "" {
			request.Header.Set("Last-Event-ID", lastEventID)
		}
		response, err := site.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() {
			line := lines.Text()
			if id, ok := strings.CutPrefix(line, "id: "); ok {
				lastEventID = id
			}
			if strings.HasPrefix(line, "event: ") || strings.HasPrefix(line, "data: ") {
				seen = append(seen, line)
			}
			if strings.HasPrefix(line, "data: ") && shown != nil {
				shown()
				shown = nil
			}
			if line == "event: "+until {
				return seen
			}
		}
		t.Fatalf("the stream ended before %s: %q, %v", until, seen, lines.Err())
		return nil
	}
	seen := read("unknown", func() {
		send("evt_2", "processing", 10, "right", rig.Fields{"status": "processing"})
		send("evt_3", "verified", 20, "right", rig.Fields{"status": "verified", "last_verification_report": "vr_1"})
	})
	seen = append(seen, read("unknown", nil)...)
	for _, line := range seen {
		if strings.Contains(line, "PROCESSING") || strings.Contains(line, "VERIFIED") || strings.Contains(line, "right") {
			t.Errorf("the first person's page was sent %s", line)
		}
	}
	if !strings.Contains(strings.Join(seen, "\n"), "REQUIRES_INPUT") {
		t.Errorf("the page was never shown its own status: %q", seen)
	}
}
