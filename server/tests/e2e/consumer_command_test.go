package e2e

import (
	"crypto/x509"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/access"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestConsumersCommand lists and deletes consumers of a server with TLS and tokens, with the rights of each caller.
func TestConsumersCommand(t *testing.T) {
	t.Parallel() // it mostly waits
	o := newOffice(t, rig.Settings(redistest.Start(t).Addr), map[string][]access.Right{
		"mailer": {access.RightWatchAll}, "ledger": {access.RightWatchAll}, "support": {access.RightList}, "web": {access.RightRead},
	})
	p := o.server
	run := func(caller string, code int, args ...string) string {
		t.Helper()
		return o.run(caller, "", code, append([]string{"consumers"}, args...)...)
	}
	want := func(got, pattern string) {
		t.Helper()
		if !regexp.MustCompile(pattern).MatchString(got) {
			t.Errorf("got:\n%s\nwant:\n%s", got, pattern)
		}
	}
	const none = `^The server has no named consumer\.\n$`
	want(run("support", 0), none)

	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(o.authority))
	conn, err := grpc.NewClient(p.GRPC, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(trusted, "")), grpc.WithPerRPCCredentials(rig.Bearer(o.tokens["mailer"])))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	stream, first, err := watchAs(rig.Within(t, 5*rig.Soon), verificationv1.NewVerificationServiceClient(conn), "mailer", false)
	if err != nil || first.GetConsumer() != "mailer" {
		t.Fatalf("the stream of the consumer: %v, %v", first, err)
	}
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, rig.Tries("vs_Listed", 1)[0])
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	const row = `^NAME +PRINCIPAL +ACTIVE +ACKNOWLEDGED +PENDING +LAG +EXPIRED\nmailer +token:mailer +yes +(never|\d.* ago) +1 +\d\S* +no\n$`
	want(run("support", 0), row)

	want(run("web", 1), `^the consumers cannot be listed: the server refuses the call: token:web may not call .*ListConsumers\n$`)
	want(run("", 1), `^the consumers cannot be listed: the server does not know the caller: .*: give --token-file, or --cert-file and --key-file\n$`)
	want(run("support", 1, "--delete=mailer"), `^the consumer cannot be deleted: the server refuses the call: token:support may not call .*DeleteConsumer\n$`)
	want(run("ledger", 1, "--delete=mailer"), `^the consumer cannot be deleted: the server refuses the call: `)
	want(run("support", 0), row)
	want(run("mailer", 0, "--delete=mailer"), `^The server has no consumer mailer any more\. Its position is deleted\.\n$`)
	want(run("support", 0), none)
	if _, err := stream.Recv(); err == nil || !strings.Contains(err.Error(), "Aborted") {
		t.Errorf("the stream of the deleted consumer: got %v, want Aborted", err)
	}
	want(run("mailer", 1, "--plaintext"), `--plaintext sends no credentials`)
	want(run("mailer", 2, "--timeout=soon"), `for help: server consumers --help`)
}
