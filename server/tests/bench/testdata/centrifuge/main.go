// Command centrifuge delivers changes with github.com/centrifugal/centrifuge, to be measured beside the
// server. It takes the same webhooks, verified and decoded as in the bare server of the benchmarks, and
// publishes each to the session's channel, with Redis as the broker and its history on. A watch is a client
// of centrifuge that is subscribed to that channel, with positions and recovery on.
//
// What it does not do: it decides nothing, counts a repeated event twice, has no snapshot, and asks nobody who
// they are. So it does less than the server, and what both need on the way of a change is the same: one script
// in Redis before Stripe has its answer, which keeps the change where a watch that comes back can find it.
//
// It says on the standard error where it listens, and ends when the standard input does.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/centrifugal/centrifuge"
	stripego "github.com/stripe/stripe-go/v76"
	stripewebhook "github.com/stripe/stripe-go/v76/webhook"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// historySize and historyTTL are how much of a session is kept for those who come back.
const historySize, historyTTL = 100, 24 * time.Hour

func main() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	node, err := newNode(os.Getenv("REDIS_ADDR"))
	if err != nil {
		log.Fatal(err)
	}
	s := &service{node: node, secret: os.Getenv("STRIPE_WEBHOOK_SECRET")}
	if err := s.serve(); err != nil {
		log.Fatal(err)
	}
}

// newNode runs centrifuge as its README and its example of a unidirectional gRPC transport do, with every
// setting that concerns speed at its default.
func newNode(redis string) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{
		LogLevel:   centrifuge.LogLevelWarn,
		LogHandler: func(entry centrifuge.LogEntry) { log.Println(entry.Message, entry.Fields) },
	})
	if err != nil {
		return nil, err
	}
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: redis})
	if err != nil {
		return nil, err
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
	if err != nil {
		return nil, err
	}
	node.SetBroker(broker)
	node.OnConnecting(func(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{},
			Subscriptions: map[string]centrifuge.SubscribeOptions{string(e.Data): {EnableRecovery: true}},
		}, nil
	})
	return node, node.Run()
}

// service is the contract as far as the benchmark of deliveries uses it.
type service struct {
	verificationv1.UnimplementedVerificationServiceServer
	node   *centrifuge.Node
	secret string
}

func (s *service) serve() error {
	rpcs, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	hooks, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webhook", s.webhook)
	go func() { log.Fatal(http.Serve(hooks, mux)) }()
	server := grpc.NewServer()
	verificationv1.RegisterVerificationServiceServer(server, s)
	fmt.Fprintf(os.Stderr, `{"msg":"listening","grpc":%q,"webhook":%q}`+"\n", rpcs.Addr(), hooks.Addr())
	return server.Serve(rpcs)
}

// webhook is that of the bare server, with the change published before the answer.
func (s *service) webhook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 256<<10))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	event, err := stripewebhook.ConstructEventWithOptions(body, r.Header.Get("Stripe-Signature"), s.secret,
		stripewebhook.ConstructEventOptions{Tolerance: 5 * time.Minute, IgnoreAPIVersionMismatch: true})
	var session stripego.IdentityVerificationSession
	if err == nil {
		err = json.Unmarshal(event.Data.Raw, &session)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	change, err := proto.Marshal(&verificationv1.Verification{
		SessionId: session.ID, StripeStatus: string(session.Status), StripeType: string(session.Type),
	})
	if err == nil {
		_, err = s.node.Publish(session.ID, change, centrifuge.WithHistory(historySize, historyTTL))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, `{"received":true}`)
}
