package main

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// hostile is everybody who means harm to one server, or has lost their mind.
type hostile struct {
	ctx                  context.Context
	webhook, grpc, admin string // addresses
	counts               map[string]*atomic.Int64
}

// attack is one way to do harm: what one connection does, and by how many clients at once.
type attack struct {
	addr    string
	clients int
	pause   time.Duration // between one connection and the next
	do      func(ctx context.Context, c net.Conn)
}

// breath is a pause within a flood: this machine must have time for the server too. Thousands of
// frames a second are left.
const breath = 5 * time.Millisecond

// attackTime bounds one connection of an attack; the server may have ended it long before.
const attackTime = 3 * time.Second

// repeat makes one connection after the other until the end.
func (h *hostile) repeat(name string, a attack) {
	sleep(h.ctx, rand.N(attackTime)) // they do not come all at once
	for h.ctx.Err() == nil {
		dialer := net.Dialer{Timeout: attackTime}
		c, err := dialer.DialContext(h.ctx, "tcp", a.addr)
		if err == nil {
			_ = c.SetDeadline(time.Now().Add(attackTime))
			stop := context.AfterFunc(h.ctx, func() { _ = c.Close() })
			a.do(h.ctx, c)
			stop()
			_ = c.Close()
			h.counts[name].Add(1)
		}
		sleep(h.ctx, a.pause)
	}
}

// sleep is a pause of a client; it ends with the attack.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// requestHead begins a request to the webhook.
const requestHead = "POST /webhook HTTP/1.1\r\nHost: x\r\n"

func (h *hostile) kinds() map[string]attack {
	nested := strings.Repeat(`{"a":[`, 20_000)
	signed := "Stripe-Signature: " + sign(time.Now(), webhookSecret, []byte(nested)) + "\r\n"
	length := func(n string) string { return "Content-Length: " + n + "\r\n\r\n" }
	const some = 50 * time.Millisecond
	return map[string]attack{
		"slow headers to the webhook": {h.webhook, 50, some, drip(requestHead, "X-A: a\r\n")},
		"slow headers to the admin":   {h.admin, 30, some, drip("GET /livez HTTP/1.1\r\n", "X-A: a\r\n")},
		"slow body":                   {h.webhook, 50, some, drip(requestHead+length("100000"), "x")},
		"slow body to the admin":      {h.admin, 20, some, drip("GET /livez HTTP/1.1\r\nHost: x\r\n"+length("100000"), "x")},
		"body of a gigabyte":          {h.webhook, 2, some, flood(requestHead+length("1073741824"), strings.Repeat("x", 64<<10))},
		"chunks without an end":       {h.webhook, 2, some, flood(requestHead+"Transfer-Encoding: chunked\r\n\r\n", "4000\r\n"+strings.Repeat("x", 0x4000)+"\r\n")},
		"body cut off":                {h.webhook, 2, some, say(requestHead+length("1000")+"half", false)},
		"headers without an end":      {h.webhook, 2, some, flood(requestHead+"X-A: ", strings.Repeat("a", 64<<10))},
		"ten thousand headers":        {h.webhook, 2, some, say(requestHead+strings.Repeat("A:\r\n", 10_000)+"\r\n", true)},
		"20,000 signatures":           {h.webhook, 2, some, say(requestHead+"Stripe-Signature: t=1"+strings.Repeat(",v1=00", 20_000)+"\r\n\r\n", true)},
		"forged signatures":           {h.webhook, 2, some, say(requestHead+"Stripe-Signature: "+sign(time.Now(), "whsec_other", []byte(nested))+"\r\n"+length("120000")+nested, true)},
		"deeply nested, signed":       {h.webhook, 2, some, say(requestHead+signed+length("120000")+nested, true)},
		"HTTP/2 to the webhook":       {h.webhook, 2, some, say(http2.ClientPreface, true)},
		"noise to the webhook":        {h.webhook, 2, some, noise},
		"noise to gRPC":               {h.grpc, 2, some, noise},
		"noise after a preface":       {h.grpc, 2, some, afterPreface},
		"idle to the webhook":         {h.webhook, 450, attackTime, say("", true)},
		"idle to gRPC":                {h.grpc, 450, attackTime, say(http2.ClientPreface, true)},
		"idle to the admin":           {h.admin, 150, attackTime, say("", true)},
		"rapid reset":                 {h.grpc, 2, some, call(rapidReset)},
		"calls without a request":     {h.grpc, 2, some, call(callsWithoutRequest)},
		"headers of a gRPC flood":     {h.grpc, 2, some, call(headerFlood)},
		"continuation without an end": {h.grpc, 2, some, call(continuation)},
		"streams that nobody reads":   {h.grpc, 2, some, call(deafStreams)},
		"pings and settings":          {h.grpc, 2, some, call(controlFlood)},
	}
}

// say sends a text; with hear it then waits for whatever comes until the connection ends.
func say(text string, hear bool) func(context.Context, net.Conn) {
	return func(_ context.Context, c net.Conn) {
		if _, err := io.WriteString(c, text); err == nil && hear {
			_, _ = io.Copy(io.Discard, c)
		}
	}
}

// drip sends the beginning, then a little again and again.
func drip(begin, little string) func(context.Context, net.Conn) {
	return func(ctx context.Context, c net.Conn) {
		_, err := io.WriteString(c, begin)
		for err == nil && ctx.Err() == nil {
			sleep(ctx, 200*time.Millisecond)
			_, err = io.WriteString(c, little)
		}
	}
}

// flood sends the beginning, then a lot again and again.
func flood(begin, lot string) func(context.Context, net.Conn) {
	return func(ctx context.Context, c net.Conn) {
		_, err := io.WriteString(c, begin)
		for err == nil && ctx.Err() == nil {
			_, err = io.WriteString(c, lot)
			sleep(ctx, breath)
		}
	}
}

func noise(_ context.Context, c net.Conn) {
	bytes := make([]byte, 4<<10)
	for i := range bytes {
		bytes[i] = byte(rand.IntN(256))
	}
	say(string(bytes), true)(nil, c)
}

func afterPreface(ctx context.Context, c net.Conn) {
	if _, err := io.WriteString(c, http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err == nil {
		noise(ctx, c)
	}
}

// calls is a bare HTTP/2 client, which can do what grpc's does not.
type calls struct {
	*http2.Framer
	block  bytes.Buffer
	hpack  *hpack.Encoder
	stream uint32
}

// call speaks HTTP/2 for an attack; what comes back is thrown away.
func call(attack func(context.Context, *calls) error) func(context.Context, net.Conn) {
	return func(ctx context.Context, c net.Conn) {
		if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
			return
		}
		w := &calls{Framer: http2.NewFramer(c, c), stream: 1}
		w.hpack = hpack.NewEncoder(&w.block)
		if w.WriteSettings() != nil {
			return
		}
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			_, _ = io.Copy(io.Discard, c)
		}()
		for n := 0; attack(ctx, w) == nil && ctx.Err() == nil; n++ {
			if n%20 == 0 {
				sleep(ctx, breath)
			}
		}
		_ = c.Close()
		<-heard
	}
}

// begin writes the headers of the next call.
func (w *calls) begin(method string, more ...hpack.HeaderField) error {
	w.block.Reset()
	w.stream += 2
	for _, field := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: method},
		{Name: ":authority", Value: "x"}, {Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}, more...) {
		if err := w.hpack.WriteField(field); err != nil {
			return err
		}
	}
	return w.WriteHeaders(http2.HeadersFrameParam{StreamID: w.stream, BlockFragment: w.block.Bytes(), EndHeaders: true})
}

const statusMethod, watchMethod = verificationv1.VerificationService_GetStatus_FullMethodName, verificationv1.VerificationService_WatchStatus_FullMethodName

// aSession is a request for a session that is there, as gRPC frames it.
const aSession = "\x00\x00\x00\x00\x0b\x0a\x09vs_Normal"

func rapidReset(_ context.Context, w *calls) error {
	if err := w.begin(statusMethod); err != nil {
		return err
	}
	if err := w.WriteData(w.stream, true, []byte(aSession)); err != nil {
		return err
	}
	return w.WriteRSTStream(w.stream, http2.ErrCodeCancel)
}

func callsWithoutRequest(ctx context.Context, w *calls) error {
	for range 300 {
		if err := w.begin(statusMethod); err != nil {
			return err
		}
		if err := w.WriteData(w.stream, false, []byte("\x00\x00\x00\x40\x00")); err != nil {
			return err
		}
	}
	sleep(ctx, time.Second)
	return nil
}

func headerFlood(ctx context.Context, w *calls) error {
	fields := make([]hpack.HeaderField, 5000)
	for i := range fields {
		fields[i] = hpack.HeaderField{Name: "x-bomb", Value: strings.Repeat("b", 3000)}
	}
	sleep(ctx, 50*time.Millisecond)
	return w.begin(statusMethod, fields...)
}

func continuation(ctx context.Context, w *calls) error {
	block := []byte(strings.Repeat("\x00\x01a\x01b", 2000))
	err := w.WriteHeaders(http2.HeadersFrameParam{StreamID: w.stream, BlockFragment: block})
	for err == nil && ctx.Err() == nil {
		err = w.WriteContinuation(w.stream, false, block)
		sleep(ctx, breath)
	}
	return err
}

func deafStreams(ctx context.Context, w *calls) error {
	if err := w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		return err
	}
	for range 200 {
		if err := w.begin(watchMethod); err != nil {
			return err
		}
		if err := w.WriteData(w.stream, true, []byte(aSession)); err != nil {
			return err
		}
	}
	sleep(ctx, attackTime)
	return io.EOF
}

func controlFlood(_ context.Context, w *calls) error {
	if err := w.WriteSettings(); err != nil {
		return err
	}
	return w.WritePing(false, [8]byte{})
}
