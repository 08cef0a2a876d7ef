package main

import (
	"errors"
	"fmt"
	"sync"

	"github.com/centrifugal/centrifuge"
	"github.com/centrifugal/protocol"
	"google.golang.org/protobuf/encoding/protowire"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// WatchStatus is one client of centrifuge for as long as the caller stays.
func (s *service) WatchStatus(request *verificationv1.WatchStatusRequest, stream verificationv1.VerificationService_WatchStatusServer) error {
	t := &transport{session: request.GetSessionId(), stream: stream, closed: make(chan struct{})}
	client, disconnect, err := centrifuge.NewClient(stream.Context(), s.node, t)
	if err != nil {
		return err
	}
	client.Connect(centrifuge.ConnectRequest{Data: []byte(t.session)})
	select {
	case <-stream.Context().Done():
	case <-t.closed:
	}
	err = disconnect()
	t.end()
	return err
}

// transport is a centrifuge.Transport over a stream of the contract, so that all subjects of the benchmark have
// the same clients. It sends from centrifuge's own goroutine for the client, as its websockets do: handing over
// to the goroutine of the call, as its example for gRPC does, would be one wake-up more.
type transport struct {
	session string
	stream  verificationv1.VerificationService_WatchStatusServer
	epoch   string

	mu    sync.Mutex // held over each Send: the stream is not to be used once the call has ended
	ended bool

	once   sync.Once
	closed chan struct{}
}

var _ centrifuge.Transport = (*transport)(nil)

func (t *transport) Name() string                                { return "grpc" }
func (t *transport) AcceptProtocol() string                      { return "h2" }
func (t *transport) Protocol() centrifuge.ProtocolType           { return centrifuge.ProtocolTypeProtobuf }
func (t *transport) ProtocolVersion() centrifuge.ProtocolVersion { return centrifuge.ProtocolVersion2 }
func (t *transport) Unidirectional() bool                        { return true }
func (t *transport) Emulation() bool                             { return false }
func (t *transport) DisabledPushFlags() uint64                   { return 0 }

// PingPongConfig has no pings: gRPC's own tell whether the other side is there.
func (t *transport) PingPongConfig() centrifuge.PingPongConfig {
	return centrifuge.PingPongConfig{PingInterval: -1, PongTimeout: -1}
}

// Write sends one push: the answer to the connect, which says where the channel stands, or a publication.
func (t *transport) Write(data []byte) error {
	var push protocol.Push
	if err := push.UnmarshalCF(data); err != nil {
		return err
	}
	switch {
	case push.GetConnect() != nil:
		position := push.GetConnect().GetSubs()[t.session]
		t.epoch = position.GetEpoch()
		return t.send(nil, position.GetOffset())
	case push.GetPub() != nil:
		return t.send(push.GetPub().GetData(), push.GetPub().GetOffset())
	}
	return nil
}

// WriteMany implements centrifuge.Transport.
func (t *transport) WriteMany(pushes ...[]byte) error {
	for _, data := range pushes {
		if err := t.Write(data); err != nil {
			return err
		}
	}
	return nil
}

// send makes a response of a Verification in its encoded form, which goes on as it is: decoding it here would be
// work for nothing.
func (t *transport) send(verification []byte, offset uint64) error {
	response := &verificationv1.WatchStatusResponse{ResumeToken: fmt.Sprintf("%s-%d", t.epoch, offset)}
	if verification != nil {
		field := protowire.AppendTag(nil, 1, protowire.BytesType)
		response.ProtoReflect().SetUnknown(protowire.AppendBytes(field, verification))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return errors.New("the call has ended")
	}
	return t.stream.Send(response)
}

// Close implements centrifuge.Transport.
func (t *transport) Close(centrifuge.Disconnect) error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

// end waits for a Send that is under way and allows no more.
func (t *transport) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}
