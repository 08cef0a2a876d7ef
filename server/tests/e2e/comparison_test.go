package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// sensitiveKey is a restricted key of the simulated Stripe, to which it shows dates of birth.
const sensitiveKey = "rk_test_sensitive"

func startStripeWithOutputs(t *testing.T) *rig.FakeStripe {
	return rig.StartFakeStripe(t, func(c *stripesim.Config) { c.APIKeys = append(c.APIKeys, sensitiveKey) })
}

// TestOnlyCallersWithTheRightCompare, and the log and the metrics say who did.
func TestOnlyCallersWithTheRightCompare(t *testing.T) {
	checkerToken, checkerLine := newToken(t, "checker", "compare")
	deskToken, deskLine := newToken(t, "desk", "read,list,retry,watch-all,override")
	stripe := startStripeWithOutputs(t)
	g := serveSecured(t, stripe, checkerLine+deskLine)
	id := stripe.NewSession("person-1")
	stripe.SubmitAndFinish(id, "verified")

	client := verificationv1.NewComparisonServiceClient(g.dial(""))
	ctx := rig.Within(t, rig.Soon)
	request := &verificationv1.CompareVerifiedOutputsRequest{SessionId: id, Country: "NL", DateOfBirth: "1990-01-01"}
	_, err := client.CompareVerifiedOutputs(metadata.NewOutgoingContext(ctx, metadata.Pairs("authorization", "Bearer "+deskToken)), request)
	rig.WantError(t, err, codes.PermissionDenied, verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED)
	response, err := client.CompareVerifiedOutputs(metadata.NewOutgoingContext(ctx, metadata.Pairs("authorization", "Bearer "+checkerToken)), request)
	if err != nil || len(response.GetFields()) != 2 ||
		response.GetFields()[1].GetResult() != verificationv1.MatchResult_MATCH_RESULT_MATCH || // of the country
		response.GetFields()[0].GetResult() != verificationv1.MatchResult_MATCH_RESULT_NOT_READABLE { // this server has no key for it
		t.Errorf("%v, %v", response, err)
	}
	if log := g.Stderr.String(); strings.Count(log, `"msg":"verified outputs are compared","session_id":"`+id+`","fields":"date_of_birth,country","principal":"token:checker"`) != 1 {
		t.Error("the log does not say who compared which fields")
	}
	if got := scrape(t, rig.NewHTTPClient(t), g.Process)[`verification_comparisons_total{outcome="compared"}`]; got != 1 {
		t.Errorf("comparisons counted: %v, want 1", got)
	}
}

// TestG10_ComparedValuesAreInNoOutput plants values in requests and in Stripe's answers, and looks for them in the log at its lowest
// level, in spans, metrics and Redis: of calls that succeed, that are refused, and that find a failing Stripe.
func TestG10_ComparedValuesAreInNoOutput(t *testing.T) {
	t.Parallel()
	stripe, redis := startStripeWithOutputs(t), redistest.Start(t)
	collector, to := startFakeCollector(t, "http")
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(sensitiveKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := rig.Serve(t, stripe.Settings(redis.Addr, append(to, "LOG_LEVEL=debug", "STRIPE_SENSITIVE_API_KEY_FILE="+keyFile)...))
	stripe.SendTo(p)
	id := stripe.NewSession("person-1")
	verified := []string{"Plantedfirst", "Plantedlast", "PLANTED7X", "Plantedid99", "planted@verified.example", "+442079460018"}
	if err := stripe.SetOutputs(id, stripesim.Outputs{
		FirstName: verified[0], LastName: verified[1], PostalCode: verified[2], Country: "NL", IDNumber: verified[3], Email: verified[4], Phone: verified[5],
		DateOfBirth: stripesim.Date{Year: 1971, Month: 2, Day: 3},
	}); err != nil {
		t.Fatal(err)
	}
	stripe.SubmitAndFinish(id, "verified")
	conn, err := grpc.NewClient(p.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client, ctx := verificationv1.NewComparisonServiceClient(conn), rig.Within(t, rig.Soon)
	values := append([]string{"Expectedfirst", "Expectedlast", "EXPECTED8Z", "Expectedid88", "expected@caller.example", "+442079460019", "1971-02-03", "1972-03-04"}, verified...)
	request := func(change func(*verificationv1.CompareVerifiedOutputsRequest)) *verificationv1.CompareVerifiedOutputsRequest {
		r := &verificationv1.CompareVerifiedOutputsRequest{SessionId: id, FirstName: values[0], LastName: values[1], PostalCode: values[2],
			IdNumber: values[3], Email: values[4], Phone: values[5], DateOfBirth: values[6]}
		change(r)
		return r
	}
	texts := ""
	call := func(want codes.Code, change func(*verificationv1.CompareVerifiedOutputsRequest)) {
		t.Helper()
		response, err := client.CompareVerifiedOutputs(ctx, request(change))
		if status.Code(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if want == codes.OK && response.GetFields()[2].GetResult() != verificationv1.MatchResult_MATCH_RESULT_MATCH {
			t.Errorf("got %v, want a match of the date of birth", response)
		}
		texts += fmt.Sprint(response, err, status.Convert(err).Proto())
	}
	same := func(*verificationv1.CompareVerifiedOutputsRequest) {}
	call(codes.OK, same)
	call(codes.InvalidArgument, func(r *verificationv1.CompareVerifiedOutputsRequest) { r.Country = values[0] })
	call(codes.InvalidArgument, func(r *verificationv1.CompareVerifiedOutputsRequest) { r.DateOfBirth = values[0] })
	call(codes.NotFound, func(r *verificationv1.CompareVerifiedOutputsRequest) { r.SessionId = "vs_none" })
	for _, failing := range []int{http.StatusInternalServerError, http.StatusOK, http.StatusForbidden, http.StatusTooManyRequests} {
		stripe.AnswerWith(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				w.WriteHeader(failing)
				_, _ = fmt.Fprintf(w, `{"error":{"type":"api_error","message":%q}}`, strings.Join(values, " "))
			}
			return r.Method == http.MethodGet
		})
		call(codes.Unavailable, same)
		stripe.AnswerWith(nil)
	}
	for range 5 {
		call(codes.OK, same)
	}
	call(codes.ResourceExhausted, same)

	stored, pages := dumpRedis(t, redis.Addr, ""), strings.Join(adminPages(t, p), "\n")
	p.Signal(syscall.SIGTERM)
	if code := p.Exit(rig.Soon); code != 0 { // it sends the spans that are left
		t.Errorf("exit code %d", code)
	}
	spans := fmt.Sprint(collector.spans)
	for name, text := range map[string]string{"answers": texts, "log": p.Stderr.String() + p.Stdout.String(), "spans": spans, "admin pages": pages, "Redis": stored} {
		for _, value := range append(values, sensitiveKey) {
			if strings.Contains(strings.ToLower(text), strings.ToLower(value)) {
				t.Errorf("%q is in the %s", value, name)
			}
		}
	}
	for name, seen := range map[string]bool{
		"log": strings.Contains(p.Stderr.String(), "verified outputs are compared"), "spans": strings.Contains(spans, "CompareVerifiedOutputs"),
		"metrics": strings.Contains(pages, "verification_comparisons_total"), "Redis": strings.Contains(stored, id),
	} {
		if !seen {
			t.Errorf("the test does not see the %s", name)
		}
	}
}
