// Command goclient lets the conformance kit test package client. Build it with the tag conformance, so that a heartbeat can be
// shorter than the contract's 5 s, and the kit need not wait for 12.5 s until a watch notices silence.
package main

import (
	"context"
	"fmt"
	"iter"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"example.com/verification-status/client"
	"example.com/verification-status/client/conformance/program"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func main() {
	p := program.Program{Dial: dial, Limit: func(s program.Settings) program.Settings {
		s.Heartbeat = max(s.Heartbeat, minHeartbeat)
		return s
	}}
	if err := p.Run(os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// tested is a Client under test.
type tested struct{ *client.Client }

func dial(t program.Target) (program.Client, error) {
	addresses := manual.NewBuilderWithScheme("conformance")
	var all resolver.State
	for _, address := range t.Addresses {
		all.Addresses = append(all.Addresses, resolver.Address{Addr: address})
	}
	addresses.InitialState(all)
	options := []client.Option{
		client.WithPlaintext(), client.WithBackoff(t.Backoff, t.MaxBackoff), client.WithDialOptions(grpc.WithResolvers(addresses)),
	}
	if t.Token != "" {
		options = append(options, client.WithBearerToken(func(context.Context) (string, error) { return t.Token, nil }))
	}
	c, err := client.Dial("conformance:///"+t.Addresses[0], options...)
	return tested{c}, err
}

func subject(session, reference string) client.Subject {
	if session != "" {
		return client.Session(session)
	}
	return client.Reference(reference)
}

func (c tested) Watch(ctx context.Context, w program.Watch) iter.Seq2[client.Update, error] {
	options := []client.WatchOption{client.Heartbeat(w.Heartbeat), client.ResumeFrom(w.ResumeFrom)}
	if w.Bookmarks {
		options = append(options, client.Bookmarks())
	}
	if w.UntilSettled {
		options = append(options, client.UntilSettled())
	}
	if w.Session == "" && w.Reference == "" {
		return c.WatchAll(ctx, options...)
	}
	return c.Client.Watch(ctx, subject(w.Session, w.Reference), options...)
}

func (c tested) Consume(ctx context.Context, consumer string, mustExist bool, heartbeat time.Duration, handle func(client.Update)) error {
	options := []client.ConsumeOption{client.Heartbeat(heartbeat)}
	if mustExist {
		options = append(options, client.MustExist())
	}
	return c.Client.Consume(ctx, consumer, func(_ context.Context, u client.Update) error {
		handle(u)
		return nil
	}, options...)
}

func (c tested) Status(ctx context.Context, session, reference string) (*verificationv1.Verification, error) {
	return c.Client.Status(ctx, subject(session, reference))
}

func (c tested) Retry(ctx context.Context, session string) (program.Link, error) {
	l, err := c.Client.Retry(ctx, session)
	if err != nil {
		return program.Link{}, err
	}
	return program.Link{
		Session: l.Verification.GetSessionId(), ClientSecret: l.ClientSecret.Reveal(), URL: l.URL.Reveal(),
		Printed: fmt.Sprintf("%v %+v %#v", l.ClientSecret, *l, l.URL),
	}, nil
}
