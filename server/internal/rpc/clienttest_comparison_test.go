package rpc

import (
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/testing/protocmp"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/comparison"
	"example.com/verification-status/server/internal/verification"
)

// comparing returns a function that makes both compare, and fails the test if they answer differently. It returns the code.
func (p *pair) comparing() func(name string, request *compareRequest) (code string) {
	p.t.Helper()
	connection, err := grpc.NewClient(p.fake.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = connection.Close() })
	fake := verificationv1.NewComparisonServiceClient(connection)
	return func(name string, request *compareRequest) string {
		p.t.Helper()
		ask := func(c verificationv1.ComparisonServiceClient) answer {
			response, err := c.CompareVerifiedOutputs(p.context(), request)
			return result(err, response)
		}
		want, got := ask(p.server), ask(fake)
		if diff := gocmp.Diff(want, got, protocmp.Transform()); diff != "" {
			p.t.Errorf("%s: clienttest answers differently (-server +clienttest):\n%s", name, diff)
		}
		return want.Code
	}
}

func TestClienttestComparesAsTheServerDoes(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.stripe.outputs = comparison.Outputs{
		FirstName: comparison.Value{Text: "ANNA"}, LastName: comparison.Value{Text: "MULDER"}, Country: comparison.Value{Text: "NL"},
		DateOfBirth: comparison.Date(1985, 3, 7),
	}
	for _, id := range []string{"vs_1", "vs_2"} {
		p.set(object(id, "verified"))
		p.fake.SetOutputs(id, client.Expected{FirstName: "ANNA", LastName: "MULDER", Country: "NL", DateOfBirth: "1985-03-07"})
	}
	p.set(object("vs_open", "requires_input"))
	p.set(object("vs_erased", "verified", erasing(verification.RedactionProcessing)))
	compare := p.comparing()
	for _, test := range []struct {
		name, code string
		request    *compareRequest
	}{
		{"a bad id", "InvalidArgument", &compareRequest{SessionId: "pi_1", Country: "NL"}},
		{"no field", "InvalidArgument", &compareRequest{SessionId: "vs_1"}},
		{"a date of another form", "InvalidArgument", &compareRequest{SessionId: "vs_1", DateOfBirth: "7.3.1985"}},
		{"a date that is none", "InvalidArgument", &compareRequest{SessionId: "vs_1", DateOfBirth: "1985-02-30"}},
		{"a country by name", "InvalidArgument", &compareRequest{SessionId: "vs_1", Country: "Netherlands"}},
		{"a national number", "InvalidArgument", &compareRequest{SessionId: "vs_1", Phone: "0201234567"}},
		{"no address", "InvalidArgument", &compareRequest{SessionId: "vs_1", Email: "anna"}},
		{"an address with a space", "InvalidArgument", &compareRequest{SessionId: "vs_1", Email: "an na@mail.test"}},
		{"a name without letters", "InvalidArgument", &compareRequest{SessionId: "vs_1", LastName: " - "}},
		{"a number without digits", "InvalidArgument", &compareRequest{SessionId: "vs_1", IdNumber: "--"}},
		{"a name with a line break", "InvalidArgument", &compareRequest{SessionId: "vs_1", FirstName: "Anna\nMaria"}},
		{"a long name", "InvalidArgument", &compareRequest{SessionId: "vs_1", FirstName: strings.Repeat("a", 256)}},
		{"two that are wrong", "InvalidArgument", &compareRequest{SessionId: "vs_1", Phone: "1", Country: "1"}},
		{"an unknown session", "NotFound", &compareRequest{SessionId: "vs_none", Country: "NL"}},
		{"a session that is open", "FailedPrecondition", &compareRequest{SessionId: "vs_open", Country: "NL"}},
		{"a session that is erased", "FailedPrecondition", &compareRequest{SessionId: "vs_erased", Country: "NL"}},
		{"every kind of result", "OK", &compareRequest{SessionId: "vs_1", FirstName: "ANNA", LastName: "SMIT", DateOfBirth: "1985-03-07", Country: "BE", Phone: "+31201234567"}},
	} {
		if code := compare(test.name, test.request); code != test.code {
			t.Errorf("%s: %s, want %s", test.name, code, test.code)
		}
	}
	p.everything("vs_1")
	for n := range 11 { // only those that were valid are counted
		want := "OK"
		if n == 10 {
			want = "ResourceExhausted"
		}
		if code := compare(fmt.Sprintf("comparison %d", n), &compareRequest{SessionId: "vs_2", Country: "NL"}); code != want {
			t.Errorf("comparison %d: %s, want %s", n, code, want)
		}
	}
	p.everything("vs_2")
}
