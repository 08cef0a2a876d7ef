package e2e

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"example.com/verification-status/server/tests/rig"
)

// attackers are clients that attack one server, or that are broken.
type attackers struct {
	ctx                  context.Context
	webhook, grpc, admin string // addresses
	counts               map[string]*atomic.Int64
}

// attack is one kind of attack: what one connection does, and the number of clients.
type attack struct {
	addr    string
	clients int
	pause   time.Duration // between one connection and the next
	do      func(ctx context.Context, c net.Conn)
}

// breath is a pause within a flood: this machine must have time for the server too. Thousands of
// frames a second are left.
const breath = 5 * time.Millisecond

// attackTime bounds one connection of an attack. The server can end it earlier.
const attackTime = 3 * time.Second

// repeat makes one connection after the other until the end.
func (h *attackers) repeat(name string, a attack) {
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

func (h *attackers) kinds() map[string]attack {
	nested := strings.Repeat(`{"a":[`, 20_000)
	signed := "Stripe-Signature: " + rig.Sign(time.Now(), rig.WebhookSecret, []byte(nested)) + "\r\n"
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
		"forged signatures":           {h.webhook, 2, some, say(requestHead+"Stripe-Signature: "+rig.Sign(time.Now(), "whsec_other", []byte(nested))+"\r\n"+length("120000")+nested, true)},
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

// say sends a text. With hear it then reads until the connection ends.
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
