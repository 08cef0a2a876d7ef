package rpc

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

func changed[M proto.Message](request M, change func(M)) M {
	change(request)
	return request
}

// withBoth is a request in which a second member of the oneof is set on the wire, behind the first.
func withBoth[M proto.Message](request M, field protowire.Number, text string) M {
	request.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, field, protowire.BytesType), text))
	return request
}

func TestClienttestRefusesWhatTheServerRefuses(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.set(object("vs_1", "processing", reference("person")))
	p.set(object("vs_2", "processing", reference("person")))
	beating := func(d *durationpb.Duration) *verificationv1.WatchStatusRequest {
		return changed(sessionWatch("vs_1"), func(r *verificationv1.WatchStatusRequest) { r.Heartbeat = d })
	}
	follow := func(request *listRequest, token string) *listRequest {
		return changed(request, func(r *listRequest) { r.PageToken = token })
	}
	const refused, unknown = "InvalidArgument", "NotFound"
	type row struct {
		name, code string
		call       call
	}
	rows := []row{
		{"status of nobody", refused, p.get(&verificationv1.GetStatusRequest{})},
		{"status of nobody at a negative revision", refused, p.get(&verificationv1.GetStatusRequest{MinRevision: -1})},
		{"status of a bad id at a negative revision", refused, p.get(changed(statusByID("x"), func(r *verificationv1.GetStatusRequest) { r.MinRevision = -1 }))},
		{"status at a negative revision", refused, p.get(changed(statusByID("vs_1"), func(r *verificationv1.GetStatusRequest) { r.MinRevision = -1 }))},
		{"status of two subjects", "OK", p.get(withBoth(statusByID("x"), 2, "person"))},
		{"status of two subjects, the second a bad one", refused, p.get(withBoth(statusByReference("person"), 1, "x"))},
		{"status of an unknown id", unknown, p.get(statusByID("vs_none"))},
		{"status of an unknown reference", unknown, p.get(statusByReference("nobody"))},
		{"status of an unknown id at a revision", "OutOfRange", p.get(changed(statusByID("vs_none"), func(r *verificationv1.GetStatusRequest) { r.MinRevision = 3 }))},
		{"status of an unknown reference at a revision", "OutOfRange", p.get(changed(statusByReference("nobody"), func(r *verificationv1.GetStatusRequest) { r.MinRevision = 3 }))},
		{"status beyond the last revision", "OutOfRange", p.get(changed(statusByID("vs_1"), func(r *verificationv1.GetStatusRequest) { r.MinRevision = 2 }))},
		{"status at the last revision", "OK", p.get(changed(statusByReference("person"), func(r *verificationv1.GetStatusRequest) { r.MinRevision = 1 }))},

		{"watch nobody", refused, p.watch(1, &verificationv1.WatchStatusRequest{})},
		{"watch two subjects", "OK", p.watch(1, withBoth(sessionWatch("x"), 2, "person"))},
		{"watch an unknown id", unknown, p.watch(1, sessionWatch("vs_none"))},
		{"watch an unknown reference", unknown, p.watch(1, byReference("nobody"))},
		{"watch all until settled", refused, p.watch(1, untilSettled(allSessions()))},
		{"heartbeat of 1 ns", "OK", p.watch(1, beating(durationpb.New(1)))},
		{"heartbeat of 1 s", "OK", p.watch(1, beating(durationpb.New(time.Second)))},
		{"heartbeat of a year", "OK", p.watch(1, beating(durationpb.New(365*24*time.Hour)))},
		{"heartbeat of 0", refused, p.watch(1, beating(&durationpb.Duration{}))},
		{"heartbeat of -5 ns", refused, p.watch(1, beating(durationpb.New(-5)))},
		{"heartbeat of 1 s and -5 ns", refused, p.watch(1, beating(&durationpb.Duration{Seconds: 1, Nanos: -5}))},
		{"heartbeat of 2e9 ns", refused, p.watch(1, beating(&durationpb.Duration{Nanos: 2e9}))},
		{"heartbeat beyond any duration", refused, p.watch(1, beating(&durationpb.Duration{Seconds: 1 << 60}))},
		{"bad heartbeat, token and id", refused, p.watch(1, changed(resumed(sessionWatch("x"), strings.Repeat("a", 2049)), func(r *verificationv1.WatchStatusRequest) { r.Heartbeat = &durationpb.Duration{} }))},
		{"bad token and id", refused, p.watch(1, resumed(sessionWatch("x"), strings.Repeat("a", 2049)))},
		{"garbled token and bad id", refused, p.watch(1, resumed(sessionWatch("x"), "abc"))},
		{"garbled token of an unknown id", refused, p.watch(1, resumed(sessionWatch("vs_none"), "abc"))},
		{"token of nobody", refused, p.watch(1, resumed(&verificationv1.WatchStatusRequest{}, "abc"))},

		{"retry nobody", refused, p.retry(retryRequest(""))},
		{"retry an unknown id", unknown, p.retry(retryRequest("vs_none"))},
		{"replace an unknown id", unknown, p.retry(replaceRequest("vs_none"))},
		{"retry a bad id with a bad address", refused, p.retry(&verificationv1.RetryVerificationRequest{SessionId: "x", ReturnUrl: "x"})},
		{"retry an unknown id with a bad address", refused, p.retry(&verificationv1.RetryVerificationRequest{SessionId: "vs_none", ReturnUrl: "x"})},

		{"list nothing", refused, p.list(&listRequest{})},
		{"list nothing in pages of -1", refused, p.list(&listRequest{PageSize: -1})},
		{"list two filters", "OK", p.list(withBoth(listStatus(99), 1, "person"))},
		{"list a negative time", refused, p.list(listStuck(durationpb.New(-1)))},
		{"list a time that is none", refused, p.list(listStuck(&durationpb.Duration{Seconds: 1, Nanos: -1}))},
		{"list a time beyond any duration", refused, p.list(listStuck(&durationpb.Duration{Seconds: 1 << 60}))},
		{"list in pages of -1", refused, p.list(changed(listInDoubt(), func(r *listRequest) { r.PageSize = -1 }))},
		{"list in pages of -1 by a bad token", refused, p.list(changed(follow(listInDoubt(), "next"), func(r *listRequest) { r.PageSize = -1 }))},
		{"list by a garbled token", refused, p.list(follow(listInDoubt(), "next"))},
		{"list by too long a token", refused, p.list(follow(listInDoubt(), strings.Repeat("x", 2049)))},
		{"list a bad status by too long a token", refused, p.list(follow(listStatus(0), strings.Repeat("x", 2049)))},
	}
	for _, id := range []string{"", "vs_", "vs", "x", "pi_1", "VS_1", "vs_1\n", "vs_ä", "vs_a-b", " vs_1", "vs_" + strings.Repeat("x", 253)} {
		rows = append(rows,
			row{"status of id " + id, refused, p.get(statusByID(id))}, row{"watch id " + id, refused, p.watch(1, sessionWatch(id))},
			row{"retry id " + id, refused, p.retry(retryRequest(id))})
	}
	for _, reference := range []string{"", strings.Repeat("x", 256), strings.Repeat("ä", 128)} {
		rows = append(rows,
			row{"status of reference " + reference, refused, p.get(statusByReference(reference))},
			row{"watch reference " + reference, refused, p.watch(1, byReference(reference))},
			row{"list reference " + reference, refused, p.list(listReference(reference))})
	}
	for _, address := range []string{
		"nonsense", "example.com", "/back", "ftp://example.com", "javascript:alert(1)", "https://", "https:///x", "https://exa mple.com",
		"http://[::1", "https://example.com/" + strings.Repeat("x", 2029),
	} {
		rows = append(rows, row{"retry with the address " + address, refused, p.retry(&verificationv1.RetryVerificationRequest{SessionId: "vs_1", ReturnUrl: address})})
	}
	for number := range verificationv1.Status_name {
		if statusLists[verificationv1.Status(number)] == 0 && number != int32(verificationv1.Status_STATUS_REQUIRES_INPUT) {
			rows = append(rows, row{fmt.Sprint("list status ", number), refused, p.list(listStatus(verificationv1.Status(number)))})
		}
	}
	for number := range verificationv1.RetryDenial_name {
		if _, err := denialList(verificationv1.RetryDenial(number)); err != nil {
			rows = append(rows, row{fmt.Sprint("list denial ", number), refused, p.list(listDenial(verificationv1.RetryDenial(number)))})
		}
	}
	rows = append(rows, row{"list a status to come", refused, p.list(listStatus(99))}, row{"list a denial to come", refused, p.list(listDenial(99))})
	for _, c := range rows {
		if got := p.same(c.name, c.call); got.Code != c.code {
			t.Errorf("%s: answered %s; want %s", c.name, got.Code, c.code)
		}
	}
}

func TestClienttestTakesTheTokensThatTheServerTakes(t *testing.T) {
	p := newPair(t)
	for _, id := range []string{"vs_1", "vs_2", "vs_3"} {
		p.set(object(id, "processing", reference("person")))
	}
	page := func(request *listRequest) func(verificationv1.VerificationServiceClient) string {
		return func(c verificationv1.VerificationServiceClient) string {
			response, err := c.ListVerifications(p.context(), changed(request, func(r *listRequest) { r.PageSize = 1 }))
			if err != nil {
				t.Fatal(err)
			}
			return response.GetNextPageToken()
		}
	}
	watched := func(request *verificationv1.WatchStatusRequest) func(verificationv1.VerificationServiceClient) string {
		return func(c verificationv1.VerificationServiceClient) string {
			response, err := p.open(c, request).Recv()
			if err != nil {
				t.Fatal(err)
			}
			return response.GetResumeToken()
		}
	}
	tokens := map[string]func(verificationv1.VerificationServiceClient) string{
		"none": func(verificationv1.VerificationServiceClient) string { return "" }, "nonsense": func(verificationv1.VerificationServiceClient) string { return "nonsense" },
		"vs_1": watched(sessionWatch("vs_1")), "vs_2": watched(sessionWatch("vs_2")), "person": watched(byReference("person")), "all": watched(allSessions()),
		"list of processing": page(listStatus(verificationv1.Status_STATUS_PROCESSING)), "list of person": page(listReference("person")),
		"list of stuck": page(listStuck(durationpb.New(0))),
	}
	// A change after the tokens, so that what they lead to is not nothing.
	tokensOf := map[verificationv1.VerificationServiceClient]map[string]string{p.server: {}, p.wire: {}}
	for name, token := range tokens {
		for c, of := range tokensOf {
			of[name] = token(c)
		}
	}
	p.set(object("vs_1", "verified", reference("person"), report("vr_1")))
	p.set(object("vs_3", "verified", reference("person"), report("vr_3")))
	mangled := map[string]func(string) string{
		"": func(token string) string { return token }, " cut": func(token string) string { return token[:max(0, len(token)-1)] },
		" and more": func(token string) string { return token + "A" }, " twice": func(token string) string { return token + token },
		" with a line break": func(token string) string { return token + "\n" },
	}
	for name := range tokens {
		for how, mangle := range mangled {
			with := func(use func(verificationv1.VerificationServiceClient, string) answer) call {
				return func(c verificationv1.VerificationServiceClient) answer { return use(c, mangle(tokensOf[c][name])) }
			}
			for subject, request := range map[string]*verificationv1.WatchStatusRequest{"vs_1": sessionWatch("vs_1"), "person": byReference("person"), "all": allSessions()} {
				p.same(fmt.Sprintf("watch %s by the token of %s%s", subject, name, how), with(func(c verificationv1.VerificationServiceClient, token string) answer {
					return p.watch(1, resumed(proto.CloneOf(request), token))(c)
				}))
			}
			for list, request := range map[string]*listRequest{
				"processing": listStatus(verificationv1.Status_STATUS_PROCESSING), "verified": listStatus(verificationv1.Status_STATUS_VERIFIED),
				"person": listReference("person"), "stuck": listStuck(durationpb.New(0)), "stuck for 1 ns": listStuck(durationpb.New(1)),
			} {
				p.same(fmt.Sprintf("list %s by the token of %s%s", list, name, how), with(func(c verificationv1.VerificationServiceClient, token string) answer {
					return p.list(changed(proto.CloneOf(request), func(r *listRequest) { r.PageToken = token }))(c)
				}))
			}
		}
	}
}

func TestClienttestShowsEachStateAsTheServerDoes(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	states := map[string][]verification.Object{
		"open":        {object("vs_open", "requires_input", reference("person"))},
		"processing":  {object("vs_processing", "requires_input"), object("vs_processing", "processing")},
		"strange":     {object("vs_strange", "reviewing")},
		"strangetype": {object("vs_strangetype", "processing", func(o *verification.Object) { o.Type = "palm" })},
		"flow":        {object("vs_flow", "requires_input", func(o *verification.Object) { o.Type = "verification_flow"; o.Livemode = true; o.Account = "acct_1" })},
		"verified":    {object("vs_verified", "processing"), object("vs_verified", "verified", report("vr_1"))},
		"canceled":    {object("vs_canceled", "canceled")},
		"failclosed":  {object("vs_failclosed", "requires_input", failure("document_expired", 1)), object("vs_failclosed", "canceled", failure("document_expired", 1))},
		"unreported":  {object("vs_unreported", "requires_input", problem("document_expired", ""))},
		"reasononly":  {object("vs_reasononly", "requires_input", problem("", "Because."))},
		"twice":       {object("vs_twice", "requires_input", failure("document_expired", 1)), object("vs_twice", "processing"), object("vs_twice", "requires_input", failure("document_expired", 2))},
		"sameagain":   {object("vs_sameagain", "requires_input", failure("document_expired", 1)), object("vs_sameagain", "processing"), object("vs_sameagain", "requires_input", failure("document_expired", 1))},
		"errorwhile":  {object("vs_errorwhile", "processing", failure("document_expired", 1))},
		"left":        {object("vs_left", "requires_input", problem("abandoned", "Left."))},
		"erasing":     {object("vs_erasing", "verified", report("vr_1"), reference("erased")), object("vs_erasing", "verified", erasing(verification.RedactionProcessing))},
		"erased":      {object("vs_erased", "verified", report("vr_1"), reference("erased")), object("vs_erased", "verified", erasing(verification.RedactionProcessing)), object("vs_erased", "verified", erasing(verification.RedactionRedacted))},
		"erasedopen":  {object("vs_erasedopen", "requires_input", failure("document_expired", 1), reference("erased")), object("vs_erasedopen", "requires_input", failure("document_expired", 1), erasing(verification.RedactionRedacted))},
		"erasedfirst": {object("vs_erasedfirst", "canceled", reference("erased"), erasing(verification.RedactionRedacted))},
		"erasedback":  {object("vs_erasedback", "verified", erasing(verification.RedactionRedacted)), object("vs_erasedback", "verified", report("vr_1"), erasing(verification.RedactionProcessing), reference("erased"))},
	}
	codes := append(verification.DefaultDenyCodes(), "a_code_to_come", "document_to_come")
	for _, known := range stripesCodes {
		codes = append(codes, known.stripe)
	}
	for _, code := range codes {
		states[code] = []verification.Object{object("vs_"+code, "requires_input", failure(code, 1))}
	}
	for _, name := range slices.Sorted(maps.Keys(states)) { // the order of what is replaced is seen in lists
		for _, o := range states[name] {
			p.set(o)
		}
		id := "vs_" + name
		p.everything(id)
		p.retries(name, id)
		p.retries(name+" again", id)
		p.everything(id)
	}
	for _, subject := range []string{"person", "erased"} {
		p.same("status of "+subject, p.get(statusByReference(subject)))
		p.same("watch "+subject, p.watch(1, untilSettled(byReference(subject))))
	}
	p.lists("at the end")
}

func TestClienttestGrantsRetriesAsTheServerDoes(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds; without -short: go test -count=1 ./server/internal/rpc")
	}
	fails := func(id, code string) func(n int) verification.Object {
		return func(n int) verification.Object {
			return object(id, "requires_input", failure(code, n), reference("person"))
		}
	}
	left := func(id string) verification.Object {
		return object(id, "requires_input", problem("abandoned", "Left."), reference("person"))
	}
	bad, young := fails("vs_1", "document_expired"), fails("vs_1", "under_supported_age")
	open, checked := object("vs_1", "requires_input", reference("person")), object("vs_1", "processing", reference("person"))
	closed := object("vs_1", "canceled", reference("person"))
	for name, life := range map[string][]any{ // objects are set, and "retry" asks both ways
		"never submitted":                    {open, "retry", "retry"},
		"one failure":                        {open, checked, bad(1), "retry", "retry", checked, "retry"},
		"to the limit":                       {bad(1), "retry", checked, bad(2), "retry", "retry", checked, bad(3), "retry", checked, bad(4), "retry"},
		"a failure without a retry":          {bad(1), checked, bad(2), "retry", checked, bad(3), "retry", checked, bad(4), "retry"},
		"denied by its code":                 {young(1), "retry", checked, bad(2), "retry", checked, young(3), "retry"},
		"the failure of before again":        {bad(1), "retry", checked, bad(2), checked, bad(1), "retry", checked, bad(2), "retry"},
		"abandoned at once":                  {open, left("vs_1"), "retry", "retry"},
		"abandoned after a grant":            {bad(1), "retry", left("vs_1"), "retry", checked, bad(2), "retry"},
		"canceled":                           {open, closed, "retry"},
		"canceled after a failure":           {bad(1), closed, "retry"},
		"canceled after a grant":             {bad(1), "retry", closed, "retry"},
		"canceled at the limit":              {bad(1), "retry", checked, bad(2), "retry", checked, bad(3), closed, "retry"},
		"canceled after what cannot succeed": {young(1), closed, "retry"},
		"canceled when abandoned":            {left("vs_1"), closed, "retry"},
		"erased":                             {bad(1), object("vs_1", "requires_input", erasing(verification.RedactionProcessing)), "retry"},
		"canceled and erased":                {closed, object("vs_1", "canceled", erasing(verification.RedactionRedacted)), "retry"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			all := p.live(allSessions())
			all("the bookmark", 1)
			for step, what := range life {
				if o, ok := what.(verification.Object); ok {
					p.set(o)
				} else {
					p.same(fmt.Sprintf("step %d: retry", step), p.retry(retryRequest("vs_1")))
				}
				p.everything("vs_1")
			}
			p.same("replace", p.retry(replaceRequest("vs_1")))
			p.same("replace again", p.retry(replaceRequest("vs_1")))
			p.same("retry what may be replaced", p.retry(retryRequest("vs_1")))
			p.everything("vs_1")
			p.same("status of the person", p.get(statusByReference("person")))
			p.lists("at the end")
		})
	}
}

func TestClienttestReplacesAsTheServerDoes(t *testing.T) {
	p := newPair(t)
	next := p.live(allSessions())
	next("the bookmark", 1)
	p.set(object("vs_1", "canceled", reference("person")))
	next("canceled", 1)
	byPerson := p.live(byReference("person"))
	byPerson("the old one", 1)
	p.same("retry what is closed", p.retry(retryRequest("vs_1")))
	p.same("replace", p.retry(replaceRequest("vs_1")))
	next("replaced", 4)
	p.same("retry what is superseded", p.retry(retryRequest("vs_1")))
	p.same("replace again", p.retry(replaceRequest("vs_1")))
	p.everything("vs_1")
	p.same("the person's newest", p.get(statusByReference("person")))
	p.same("watch the person", p.watch(1, byReference("person")))
	p.same("what the person has", p.pages(listReference("person"), 1))
	p.lists("at the end")
}

// A replacement that is canceled is replaced in its turn, whichever id of the chain the caller names, until
// the retries are used up.
func TestClienttestReplacesAChainAsTheServerDoes(t *testing.T) {
	p := newPair(t)
	p.set(object("vs_1", "canceled", reference("person")))
	for server, fake := "vs_1", "vs_1"; len(server) < len("vs_1")+3; server, fake = server+"r", fake+"_replacement" {
		if server != "vs_1" {
			closed := object(server, "canceled", reference("person"))
			p.stripe.set(closed)
			p.server.apply(eventOf(1, 2_000_000, closed)) // after the read that brought the replacement
			p.fake.Set(&verificationv1.Verification{SessionId: fake, Status: verificationv1.Status_STATUS_CANCELED})
		}
		named := func(request func(string) *verificationv1.RetryVerificationRequest) call {
			return func(c verificationv1.VerificationServiceClient) answer {
				if c == p.wire {
					return p.retry(request(fake))(c)
				}
				return p.retry(request(server))(c)
			}
		}
		p.same("retry "+server, named(retryRequest))
		p.same("replace from the first", p.retry(replaceRequest("vs_1")))
		p.same("replace "+server, named(replaceRequest))
		p.same("retry the first", p.retry(retryRequest("vs_1")))
		p.same("status of the person after "+server, func(c verificationv1.VerificationServiceClient) answer {
			response, err := c.GetStatus(p.context(), statusByReference("person"))
			if err == nil {
				response.Verification.Revision = 0 // how many commits it takes is each one's own
			}
			return result(err, response)
		})
	}
}

// Where a cooldown is set, and where a test says that one is.
func TestClienttestTellsACooldownAsTheServerDoes(t *testing.T) {
	now := time.Unix(t0+200, 0)
	p := newPair(t, func(b *backend) {
		b.policy.Cooldown = time.Hour
		b.clock = func() time.Time { return now }
	})
	failed := object("vs_1", "requires_input", failure("document_expired", 1))
	p.set(failed)
	v, err := p.wire.GetStatus(p.context(), statusByID("vs_1"))
	if err != nil {
		t.Fatal(err)
	}
	cooling := v.GetVerification()
	cooling.Retry.Allowed, cooling.Retry.Denial = false, verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN
	cooling.Retry.NextRetryTime = timestamppb.New(time.Unix(t0+101, 0).Add(time.Hour))
	p.fake.Set(cooling)
	refused := p.retry(retryRequest("vs_1"))
	want, got := refused(p.server), refused(p.wire)
	for _, a := range []answer{want, got} {
		if len(a.Details) != 3 {
			t.Errorf("details %v; want ErrorInfo, PreconditionFailure and RetryInfo", a.Details)
		}
	}
	next := p.fake.Set(cooling).GetRetry().GetNextRetryTime()
	if server := p.server.status("vs_1").GetRetry().GetNextRetryTime(); !proto.Equal(server, next) {
		t.Errorf("next retry %v; the server says %v", next, server)
	}
}

// Each reason has the code and the details in both, which are those that the contract says.
func TestClienttestsErrorsAreTheServers(t *testing.T) {
	contract, err := os.ReadFile("../../../api/verification/v1/verification.proto")
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`((?:  // .*\n)+)  (ERROR_REASON_\w+) = (\d+);`).FindAllStringSubmatch(string(contract), -1)
	if len(said) != len(verificationv1.ErrorReason_name) {
		t.Fatalf("the contract explains %d reasons of %d", len(said), len(verificationv1.ErrorReason_name))
	}
	for _, reason := range said[1:] {
		comment, number := reason[1], verificationv1.ErrorReason(verificationv1.ErrorReason_value[reason[2]])
		made := status.Convert(clienttest.Error(number))
		want := strings.ReplaceAll(strings.ToLower(regexp.MustCompile(`[A-Z_]{5,}`).FindString(comment)), "_", "")
		if got := strings.ToLower(made.Code().String()); got != want {
			t.Errorf("%s is %s; the contract says %s", reason[2], got, want)
		}
		hasRetry := slices.ContainsFunc(made.Details(), func(d any) bool { _, ok := d.(*errdetails.RetryInfo); return ok })
		// RetryDenied makes the one whose RetryInfo depends.
		if saysRetry := strings.Contains(comment, "RetryInfo") && number != verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED; hasRetry != saysRetry {
			t.Errorf("%s has RetryInfo: %v; the contract says %v", reason[2], hasRetry, saysRetry)
		}
	}
	s := New(Config{Live: uncached{}, Clock: time.Now})
	for _, known := range kinds {
		if errors.Is(known.err, errConsumerDeleted) {
			continue // the reason of errNoConsumer with another code; see TestClienttestConsumesAsTheServerDoes
		}
		want, got := result(s.fail(t.Context(), known.err)), result(clienttest.Error(known.reason))
		if want.Code != got.Code || len(want.Details) != len(got.Details) {
			t.Errorf("%s: the server sends %v, clienttest %v", known.reason, want, got)
		}
	}
	for number := range verificationv1.RetryDenial_name {
		denial := verificationv1.RetryDenial(number)
		if denial == 0 {
			continue
		}
		e := &deniedError{decision: verification.Decision{Denial: verification.Denial(denial), NextRetry: time.Now().Add(time.Hour)}, supersededBy: "vs_2"}
		want, got := s.fail(t.Context(), e), clienttest.RetryDenied(denial, "vs_2", time.Hour)
		if status.Code(got) != codes.FailedPrecondition || len(result(want).Details) != len(result(got).Details) {
			t.Errorf("%s: the server sends %v, clienttest %v", denial, result(want), result(got))
		}
	}
}
