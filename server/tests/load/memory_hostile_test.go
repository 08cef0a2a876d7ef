//go:build load

package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

const (
	heldBody = 255 << 10 // of the 256 KiB that a body may have
	// heldCall is what is sent of a request: nearly all that the flow control of one stream lets through.
	heldCall = 64<<10 - 1 - 5
)

// bodies holds an unsigned webhook open on the n-th connection: nearly all of its body is there. The server ends it after a while, and then
// the next one follows.
func (c *memoryClient) bodies(int) {
	body := make([]byte, heldBody)
	// In chunks: then the server does not know the length, and memory that grows by itself can double.
	head := fmt.Sprintf("POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", heldBody)
	for first := true; c.ctx.Err() == nil; first = false {
		conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(c.ctx, "tcp", c.Webhook)
		if err != nil {
			c.counts.add("not connected")
			_ = pauseFor(c.ctx, time.Second)
			continue
		}
		closing := context.AfterFunc(c.ctx, func() { _ = conn.Close() })
		if _, err = io.WriteString(conn, head); err == nil {
			_, err = conn.Write(body)
		}
		if err == nil {
			c.counts.add("bodies held")
		} else {
			c.counts.add("bodies cut off")
		}
		if first {
			c.holds(c.Connections)
		}
		_, _ = io.Copy(io.Discard, conn) // until the server ends it
		closing()
		_ = conn.Close()
		_ = pauseFor(c.ctx, 50*time.Millisecond)
	}
}

// halves holds calls open on the n-th connection, without credentials: of each, most of the request has been sent. The server ends
// each after a while, and then the next one follows.
func (c *memoryClient) halves(int) {
	share := c.Count / c.Connections
	for c.ctx.Err() == nil {
		conn, err := (&tls.Dialer{Config: c.tls}).DialContext(c.ctx, "tcp", c.GRPC)
		if err != nil {
			c.counts.add("not connected")
			_ = pauseFor(c.ctx, time.Second)
			continue
		}
		closing := context.AfterFunc(c.ctx, func() { _ = conn.Close() })
		out := bufio.NewWriterSize(conn, 32<<10)
		h := &halfCalls{client: c, out: out, framer: http2.NewFramer(out, conn), free: make(chan struct{}, share)}
		h.encoder = hpack.NewEncoder(&h.block)
		for range share {
			h.free <- struct{}{}
		}
		_ = h.run(conn, func() { c.holds(c.Count) })
		if c.ctx.Err() == nil {
			c.counts.add("connections that ended")
		}
		closing()
		_ = conn.Close()
		_ = pauseFor(c.ctx, 50*time.Millisecond)
	}
}

// halfCalls is one connection with calls whose requests never come to an end.
type halfCalls struct {
	client  *memoryClient
	out     *bufio.Writer
	framer  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	free    chan struct{} // one for each further call that may be open

	mu sync.Mutex // guards writing
}

// run opens a call for each that is free, until the connection ends. held is called for each of them.
func (h *halfCalls) run(conn net.Conn, held func()) error {
	_, err := h.out.WriteString(http2.ClientPreface)
	if err == nil {
		err = h.write(func() error { return h.framer.WriteSettings() })
	}
	if err != nil {
		return err
	}
	reading := make(chan error, 1)
	go func() { reading <- h.read() }()
	for id := uint32(1); ; id += 2 {
		select {
		case <-h.free:
		case err := <-reading:
			return err
		}
		if err := h.open(id); err != nil {
			h.client.counts.add("calls cut off")
			held() // as far as the server lets it
			_ = conn.Close()
			<-reading
			return err
		}
		h.client.counts.add("calls held")
		held()
	}
}

// read answers pings and notes which calls have ended.
func (h *halfCalls) read() error {
	for {
		frame, err := h.framer.ReadFrame()
		if err != nil {
			return err
		}
		ended := false
		switch frame := frame.(type) {
		case *http2.HeadersFrame:
			ended = frame.StreamEnded()
		case *http2.RSTStreamFrame:
			ended = frame.ErrCode != http2.ErrCodeNo
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = h.write(h.framer.WriteSettingsAck)
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				err = h.write(func() error { return h.framer.WritePing(true, frame.Data) })
			}
		}
		if err != nil {
			return err
		}
		if ended {
			select {
			case h.free <- struct{}{}:
			default:
			}
		}
	}
}

func (h *halfCalls) write(frame func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := frame(); err != nil {
		return err
	}
	return h.out.Flush()
}

// open sends the headers of a call, and all that the flow control of its stream allows of a request that is a little longer.
func (h *halfCalls) open(id uint32) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.block.Reset()
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "https"}, {":path", verificationv1.VerificationService_GetStatus_FullMethodName},
		{":authority", "x"}, {"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		if err := h.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			return err
		}
	}
	if err := h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.block.Bytes(), EndHeaders: true}); err != nil {
		return err
	}
	request := make([]byte, 5, 5+heldCall)
	binary.BigEndian.PutUint32(request[1:], 64<<10) // the length that is promised
	request = request[:5+heldCall]
	for len(request) > 0 {
		n := min(len(request), h.client.Frame)
		if err := h.framer.WriteData(id, false, request[:n]); err != nil {
			return err
		}
		request = request[n:]
	}
	return h.out.Flush()
}
