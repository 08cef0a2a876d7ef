package npm

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/server/internal/testing/address"
	"example.com/verification-status/server/tests/rig"
)

// examplesRig is a project with the tarball and the examples, beside "server dev".
type examplesRig struct {
	t            *testing.T
	dev          *rig.Process
	dir          string
	web          *http.Client
	service      *client.Client
	express      string // the address of src/express.ts
	link         string // the address of src/link.ts
	hosted       string // dev's page for the session of user-42
	readingEvent *bufio.Scanner
}

var (
	devGRPC   = regexp.MustCompile(`gRPC +(\S+)`)
	devHosted = regexp.MustCompile(`Its hosted page: +(\S+)`)
)

func newExamplesRig(t *testing.T, tarball string) *examplesRig {
	dev, guide := rig.LaunchDev(t)
	grpc := devGRPC.FindStringSubmatch(guide)[1]
	r := &examplesRig{t: t, dev: dev, web: rig.NewHTTPClient(t), express: address.Free(t), link: address.Free(t), hosted: devHosted.FindStringSubmatch(guide)[1]}
	replaced := append(startSecureServers(t).replaced(), "127.0.0.1:50051", grpc,
		`3000, "127.0.0.1"`, port(r.express)+`, "127.0.0.1"`, `3001, "127.0.0.1"`, port(r.link)+`, "127.0.0.1"`)
	r.dir = newProject(t, tarball, replaced...)
	service, err := client.Dial(grpc, client.WithPlaintext())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Close() })
	r.service = service
	return r
}

func port(address string) string { return address[strings.LastIndex(address, ":")+1:] }

// run starts an example.
func (r *examplesRig) run(name string) *rig.Process {
	r.t.Helper()
	cmd := exec.Command("node", "dist/"+name+".js")
	cmd.Dir = r.dir
	return rig.Begin(r.t, cmd)
}

// says waits until a program has written a text.
func (r *examplesRig) says(p *rig.Process, text string) {
	r.t.Helper()
	p.Await("the program writes "+text, func() bool { return strings.Contains(p.Stdout.String(), text) })
}

// stop ends a program, which must end without an error.
func (r *examplesRig) stop(p *rig.Process, signal syscall.Signal) {
	r.t.Helper()
	p.Signal(signal)
	if code := p.Exit(rig.Soon); code != 0 || p.Stderr.String() != "" {
		r.t.Errorf("%v ended with %d and wrote %s", p.Cmd.Args, code, p.Stderr.String())
	}
}

// submit is the person on Stripe's page. It submits in a later second than what came before: events of one second are read at Stripe, and
// on a slow machine one read shows two steps.
func (r *examplesRig) submit(page, outcome string) {
	r.t.Helper()
	begun := time.Now().Unix()
	rig.Await(r.t, "the next second", func() bool { return time.Now().Unix() > begun })
	response, err := r.web.PostForm(page, url.Values{"outcome": {outcome}})
	if err != nil {
		r.t.Fatal(err)
	}
	if body, err := rig.ReadAll(response); err != nil || response.StatusCode >= http.StatusBadRequest {
		r.t.Fatalf("submitting %s: %s %s %v", outcome, response.Status, body, err)
	}
}

// ask sends a request to an example and returns the answer.
func (r *examplesRig) ask(method, address string) (int, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(rig.Within(r.t, rig.Soon), method, address, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	response, err := r.web.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	body, err := rig.ReadAll(response)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, body
}

// openEvents is a browser's EventSource at the example for Express.
func (r *examplesRig) openEvents() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*rig.Soon)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.express+"/events", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.web.Timeout = 0
	response, err := r.web.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { cancel(); _, _ = io.Copy(io.Discard, response.Body); _ = response.Body.Close() })
	if kind := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || kind != "text/event-stream" {
		r.t.Fatalf("the events are %s %s", response.Status, kind)
	}
	r.readingEvent = bufio.NewScanner(response.Body)
}

// event reads up to the next status, which must have a text, and returns its data.
func (r *examplesRig) event(text string) (data string) {
	r.t.Helper()
	for r.readingEvent.Scan() {
		data, found := strings.CutPrefix(r.readingEvent.Text(), "data: ")
		if !found || data == "{}" {
			continue
		}
		if !strings.Contains(strings.ReplaceAll(data, " ", ""), text) {
			r.t.Fatalf("the browser is sent %s; want %s in it", data, text)
		}
		return data
	}
	r.t.Fatalf("the events end, %v; want %s", r.readingEvent.Err(), text)
	return ""
}

// useInProject runs the examples of the README, with nothing changed but their addresses, while a person is refused, tries again and
// is verified.
func useInProject(t *testing.T, tarball string) {
	r := newExamplesRig(t, tarball)
	site, linker, watch, consumer := r.run("express"), r.run("link"), r.run("watch"), r.run("consume")
	r.says(site, "open http")
	r.says(linker, "listening")
	r.says(watch, "1 REQUIRES_INPUT")
	rig.Await(t, "the consumer is connected", func() bool {
		consumers, err := r.service.ListConsumers(rig.Within(t, rig.Soon))
		return err == nil && len(consumers) == 1 && consumers[0].GetName() == "mailer" && consumers[0].GetActive()
	})
	if status, page := r.ask(http.MethodGet, "http://"+r.express+"/"); status != http.StatusOK || !strings.Contains(page, "/page.js") {
		t.Errorf("the page is %d %s", status, page)
	}
	r.openEvents()
	r.event(`"status":"STATUS_REQUIRES_INPUT"`)
	r.submit(r.hosted, "document_expired")
	r.sample("an event", r.event(`"status":"STATUS_PROCESSING"`))
	r.event(`"reason":"Thedocumentisexpired."`)
	r.says(watch, "2 PROCESSING")
	r.says(watch, "3 REQUIRES_INPUT The document is expired.")
	r.says(consumer, "mail to user-42 REQUIRES_INPUT ")
	r.stop(watch, syscall.SIGINT)
	asked := r.run("status")
	if code := asked.Exit(rig.Soon); code != 0 || !strings.HasPrefix(asked.Stdout.String(), "REQUIRES_INPUT The document is expired. true\n") {
		t.Errorf("src/status.ts ended with %d and wrote %s%s", code, asked.Stdout.String(), rig.Tail(asked.Stderr.String()))
	}
	_, verification, _ := strings.Cut(asked.Stdout.String(), "\n")
	r.sample("a verification", verification)
	r.me(http.StatusOK, `{"status":"REQUIRES_INPUT","reason":"The document is expired.","mayTryAgain":true}`)

	status, body := r.ask(http.MethodPost, "http://"+r.link+"/link")
	link := regexp.MustCompile(`^{"url":"(http[^"]+)"}$`).FindStringSubmatch(body)
	if status != http.StatusOK || link == nil {
		t.Fatalf("the link is %d %s", status, body)
	}
	r.submit(link[1], "verified")
	watch = r.run("watch")
	r.says(watch, "VERIFIED")
	if seen := watch.Stdout.String(); !strings.HasPrefix(seen, "4 REQUIRES_INPUT") {
		t.Errorf("the resumed watch begins with %s; want revision 4, behind the token that it stored", seen)
	}
	r.event(`"revision":4`)
	r.event(`"status":"STATUS_PROCESSING"`)
	r.event(`"status":"STATUS_VERIFIED"`)
	r.says(consumer, "mail to user-42 VERIFIED ")
	if status, body := r.ask(http.MethodPost, "http://"+r.link+"/link"); status != http.StatusConflict || body != `{"problem":"ALREADY_VERIFIED"}` {
		t.Errorf("a link for a verified person: %d %s", status, body)
	}
	r.me(http.StatusOK, `{"status":"VERIFIED","mayTryAgain":false}`)
	r.stop(watch, syscall.SIGINT)
	r.stop(consumer, syscall.SIGTERM)
	if mails := strings.Count(consumer.Stdout.String(), "mail to"); mails != 2 {
		t.Errorf("the consumer wrote %d mails; want 2:\n%s", mails, consumer.Stdout.String())
	}
	r.stop(site, syscall.SIGTERM) // although a browser has its events open
	r.dev.Signal(syscall.SIGSTOP)
	r.me(http.StatusServiceUnavailable, `{"problem":"UNAVAILABLE"}`)
	r.dev.Signal(syscall.SIGCONT)
	r.fails("link", "EADDRINUSE")
	r.connectsSecurely()
	rig.NPM(t, r.dir, "run", "test")
}
