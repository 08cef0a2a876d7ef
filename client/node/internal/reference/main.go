// Command reference serves the Go fake of the service, clienttest, and the Go bridge to browsers, sse, so that tests in TypeScript
// compare the fake and the bridge of the npm package with them.
//
// It prints one line of JSON with its addresses, and then answers each line of JSON on stdin, a command, with a line of JSON. It ends
// with stdin.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"

	"google.golang.org/protobuf/encoding/protojson"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	"example.com/verification-status/client/sse"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

// addresses is the first line.
type addresses struct {
	Target string `json:"target"` // of the fake
	Bridge string `json:"bridge"` // of the bridge
}

func run(in io.Reader, out io.Writer) error {
	fake, err := clienttest.Start()
	if err != nil {
		return err
	}
	defer fake.Close()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: &sse.Handler{
		Client: fake.Client(), Authorize: authorize, MaxStreams: 2,
		Logger: slog.New(slog.DiscardHandler),
	}}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = web.Serve(listener) // only the error of a closed listener
	}()
	defer func() {
		_ = web.Close()
		<-served
	}()
	answer := json.NewEncoder(out)
	if err := answer.Encode(addresses{fake.Target(), "http://" + listener.Addr().String() + "/"}); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := answer.Encode(handle(fake, lines.Bytes())); err != nil {
			return err
		}
	}
	return lines.Err()
}

// authorize takes the viewer from the query. A real program never does that.
func authorize(r *http.Request) (sse.Viewer, error) {
	query := r.URL.Query()
	viewer := sse.Viewer{User: query.Get("user")}
	switch {
	case query.Has("fault"):
		return viewer, errors.New("a fault")
	case query.Has("forbidden"):
		return viewer, sse.ErrForbidden
	case viewer.User == "":
		return viewer, sse.ErrNotSignedIn
	case query.Has("session"):
		viewer.Subject = client.Session(query.Get("session"))
	case query.Has("reference"):
		viewer.Subject = client.Reference(query.Get("reference"))
	}
	return viewer, nil
}

// result is the answer to a command.
type result struct {
	Verification json.RawMessage `json:"verification,omitempty"`
	Error        string          `json:"error,omitempty"`
}

func handle(fake *clienttest.Server, line []byte) (answer result) {
	defer func() {
		if failed := recover(); failed != nil { // what clienttest refuses
			answer.Error = fmt.Sprint(failed)
		}
	}()
	var c command
	if err := json.Unmarshal(line, &c); err != nil {
		return result{Error: err.Error()}
	}
	if c.Do != "set" {
		return result{Error: c.run(fake)}
	}
	v := &verificationv1.Verification{}
	if err := protojson.Unmarshal(c.Verification, v); err != nil {
		return result{Error: err.Error()}
	}
	text, err := protojson.Marshal(fake.Set(v))
	if err != nil {
		return result{Error: err.Error()}
	}
	return result{Verification: text}
}
