package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// authorizations collects the authorization of unary calls.
func authorizations(seen *[]string) grpc.ServerOption {
	return grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		*seen = append(*seen, strings.Join(md.Get("authorization"), "|"))
		return handler(ctx, request)
	})
}

// TestContextWithToken: a call sends the token of its context, and no call without one does.
func TestContextWithToken(t *testing.T) {
	leavesNothing(t)
	id := newIdentity(t)
	desk := client.WithBearerToken(func(context.Context) (string, error) { return "desk", nil })
	for name, test := range map[string]struct {
		server  grpc.ServerOption
		options []client.Option
		want    string // without a token in the context
	}{
		"TLS":             {grpc.Creds(credentials.NewServerTLSFromCert(&id.pair)), []client.Option{client.WithTLSFiles(id.cert, "", "")}, ""},
		"TLS, own token":  {grpc.Creds(credentials.NewServerTLSFromCert(&id.pair)), []client.Option{client.WithTLSFiles(id.cert, "", ""), desk}, "Bearer desk"},
		"loopback, token": {grpc.EmptyServerOption{}, []client.Option{client.WithPlaintext(), desk}, "Bearer desk"},
	} {
		var seen []string
		server := clienttest.New(t, authorizations(&seen), test.server)
		server.Set(session("vs_1", verified))
		c, err := client.Dial(server.Target(), test.options...)
		if err != nil {
			t.Fatal(err)
		}
		for _, ctx := range []context.Context{client.ContextWithToken(within(t), " ada\n"), within(t), client.ContextWithToken(within(t), "bob")} {
			if _, err := c.Status(ctx, client.Session("vs_1")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		_ = c.Close()
		if got, want := strings.Join(seen, ", "), "Bearer ada, "+test.want+", Bearer bob"; got != want {
			t.Errorf("%s: the calls have %q; want %q", name, got, want)
		}
	}
}

// TestATokenOfACallIsNotReplaced: a token that cannot be sent fails the call, and the program's own token is not sent instead.
func TestATokenOfACallIsNotReplaced(t *testing.T) {
	var seen []string
	leavesNothing(t)
	server := clienttest.New(t, authorizations(&seen))
	server.Set(session("vs_1", verified))
	desk := client.WithBearerToken(func(context.Context) (string, error) { return "desk", nil })
	for name, test := range map[string]struct {
		token   string
		options []client.Option
	}{
		"empty": {"", []client.Option{desk}}, "spaces": {" \n", []client.Option{desk}}, "two lines": {"s3cret\nx: y", []client.Option{desk}},
		"not ASCII": {"s3crèt", []client.Option{desk}}, "plain text": {"s3cret", nil},
	} {
		_, err := server.Client(test.options...).Status(client.ContextWithToken(within(t), test.token), client.Session("vs_1"))
		if !errors.Is(err, client.ErrUnauthenticated) || status.Code(err) != codes.Unauthenticated || strings.Contains(err.Error(), "s3cr") {
			t.Errorf("%s: %v; want ErrUnauthenticated, without the token", name, err)
		}
	}
	if len(seen) > 0 {
		t.Errorf("calls arrived, with %q", seen)
	}
}
