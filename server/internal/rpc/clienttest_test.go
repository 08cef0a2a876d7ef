package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// pair is a replica of this service and a server of clienttest, with the same sessions. Programs are
// tested against the second and run against the first, so both must give the same answers.
type pair struct {
	t      *testing.T
	stripe *fakeStripe
	server *replica
	fake   *clienttest.Server
	wire   verificationv1.VerificationServiceClient // of fake
	feed   verificationv1.FeedServiceClient         // of fake
	second int64
	events map[string]int
}

func newPair(t *testing.T, change ...func(*backend)) *pair {
	t.Helper()
	b := newBackend(t)
	p := &pair{t: t, stripe: newFakeStripe(), fake: clienttest.New(t), second: 100, events: map[string]int{}}
	b.stripe = p.stripe
	for _, c := range change {
		c(b)
	}
	p.server = b.replica(t)
	connection, err := grpc.NewClient(p.fake.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	p.wire, p.feed = verificationv1.NewVerificationServiceClient(connection), verificationv1.NewFeedServiceClient(connection)
	return p
}

// set makes this the state of a session in both, by an event in the one and by Set in the other. What
// Set fills in is left out.
func (p *pair) set(o verification.Object) {
	p.t.Helper()
	p.second++
	p.events[o.ID]++
	p.stripe.set(o)
	e := eventOf(p.events[o.ID], p.second, o)
	switch {
	case o.Redaction != verification.RedactionNone:
		e.Type = verification.EventRedacted
	case p.events[o.ID] == 1 && o.Status == verification.StatusRequiresInput && o.Error.IsZero():
		e.Type = verification.EventCreated
	case e.Type == "":
		e.Type = "identity.verification_session." + o.Status
	}
	p.server.apply(e)
	v := &verificationv1.Verification{
		SessionId: o.ID, Status: statusOf(o.Status), Type: typeOf(o.Type), ClientReferenceId: o.Reference, Livemode: o.Livemode,
		CreateTime: seconds(o.Created), UpdateTime: seconds(e.Second), Redaction: verificationv1.Redaction(o.Redaction),
		Account: o.Account, LastVerificationReport: o.Report,
	}
	if v.GetStatus() == 0 {
		v.StripeStatus = o.Status
	}
	if v.GetType() == 0 {
		v.StripeType = o.Type
	}
	if v.LastError = errorOf(o.Error); KnowsErrorCode(o.Error.Code) {
		v.LastError.StripeCode, v.LastError.Category = "", 0
	}
	p.fake.Set(v)
}

// call is one request, to either server.
type call func(verificationv1.VerificationServiceClient) answer

// answer is what came of a call, without what differs by nature: see alike.
type answer struct {
	Code      string
	Details   []proto.Message
	Responses []proto.Message
}

// same fails the test if the two servers answer differently. It returns the server's answer.
func (p *pair) same(name string, c call) answer {
	p.t.Helper()
	want, got := c(p.server), c(p.wire)
	if diff := gocmp.Diff(want, got, protocmp.Transform()); diff != "" {
		p.t.Errorf("%s: clienttest answers differently (-server +clienttest):\n%s", name, diff)
	}
	return want
}

func (p *pair) context() context.Context {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	p.t.Cleanup(cancel)
	return ctx
}

// result makes an answer.
func result(err error, responses ...proto.Message) answer {
	s := status.Convert(err)
	a := answer{Code: s.Code().String()}
	if err != nil {
		responses = slices.DeleteFunc(responses, func(r proto.Message) bool { return !r.ProtoReflect().IsValid() })
	}
	for _, detail := range s.Details() {
		a.Details = append(a.Details, alike(detail.(proto.Message)))
	}
	for _, response := range responses {
		a.Responses = append(a.Responses, alike(response))
	}
	return a
}

// alike takes out what differs by nature: tokens, links, event ids, times of recording, the ids of
// sessions that a replacement makes and when these were made, when an operator called, how long RetryInfo waits, and sentences
// for people.
func alike(message proto.Message) proto.Message {
	message = proto.Clone(message)
	present := func(text string) string {
		if text != "" {
			text = "present"
		}
		return text
	}
	switch m := message.(type) {
	case *errdetails.ErrorInfo:
		if successor, ok := m.Metadata["superseded_by"]; ok {
			m.Metadata["superseded_by"] = successorID(successor)
		}
	case *errdetails.BadRequest:
		for _, violation := range m.GetFieldViolations() {
			violation.Description = present(violation.Description)
		}
	case *errdetails.PreconditionFailure:
		for _, violation := range m.GetViolations() {
			violation.Description = present(violation.Description)
		}
	case *errdetails.RetryInfo:
		if m.GetRetryDelay().AsDuration() > 0 {
			m.RetryDelay = durationpb.New(1)
		}
	case *verificationv1.GetStatusResponse:
		alikeVerification(m.GetVerification())
		alikeVerification(m.GetPerson().GetVerified())
		for _, entry := range m.GetHistory() {
			entry.EventId = present(entry.EventId)
			if entry.RecordTime.IsValid() {
				entry.RecordTime = &timestamppb.Timestamp{}
			}
			if entry.GetSource() == verificationv1.Source_SOURCE_STRIPE_API {
				entry.EventTime = nil
			}
		}
	case *verificationv1.WatchStatusResponse:
		alikeVerification(m.GetVerification())
		m.ResumeToken = present(m.ResumeToken)
	case *verificationv1.ListConsumersResponse:
		for _, c := range m.GetConsumers() {
			c.Lag = nil
			if c.AcknowledgeTime != nil {
				c.AcknowledgeTime = &timestamppb.Timestamp{}
			}
		}
	case *verificationv1.RetryVerificationResponse:
		alikeVerification(m.GetVerification())
		m.ClientSecret, m.Url, m.EphemeralKeySecret = present(m.ClientSecret), present(m.Url), present(m.EphemeralKeySecret)
	case *verificationv1.AllowRetryResponse:
		alikeVerification(m.GetVerification())
	case *verificationv1.ResolveVerificationResponse:
		alikeVerification(m.GetVerification())
	case *verificationv1.ListVerificationsResponse:
		for _, v := range m.GetVerifications() {
			alikeVerification(v)
		}
		m.NextPageToken = present(m.NextPageToken)
	}
	return message
}

func alikeVerification(v *verificationv1.Verification) {
	if v == nil {
		return
	}
	if v.GetResolution().GetTime().IsValid() {
		v.Resolution.Time = &timestamppb.Timestamp{}
	}
	v.SupersededBy, v.Replaces = successorID(v.GetSupersededBy()), successorID(v.GetReplaces())
	if id := successorID(v.GetSessionId()); id != v.GetSessionId() {
		v.SessionId, v.CreateTime, v.UpdateTime = id, nil, nil
		if v.GetOutcomeId() != "" {
			v.OutcomeId = "present" // of the id, so it differs as the id does
		}
	}
}

// successorID is one name for what either server makes to replace a session; here fakeStripe appends "r".
func successorID(id string) string {
	if original := madeToReplace.FindStringSubmatch(id); original != nil {
		return successorID(original[1]) + " replaced"
	}
	return id
}

var madeToReplace = regexp.MustCompile(`^(vs_(?:1|canceled|failclosed)(?:r|_replacement)*)(?:r|_replacement)$`)

func (p *pair) get(request *verificationv1.GetStatusRequest) call {
	return func(c verificationv1.VerificationServiceClient) answer {
		response, err := c.GetStatus(p.context(), request)
		return result(err, response)
	}
}

func (p *pair) retry(request *verificationv1.RetryVerificationRequest) call {
	return func(c verificationv1.VerificationServiceClient) answer {
		response, err := c.RetryVerification(p.context(), request)
		return result(err, response)
	}
}

func (p *pair) list(request *listRequest) call {
	return func(c verificationv1.VerificationServiceClient) answer {
		response, err := c.ListVerifications(p.context(), request)
		return result(err, response)
	}
}

// pages reads a list to its end, in pages of a size.
func (p *pair) pages(request *listRequest, size int32) call {
	return func(c verificationv1.VerificationServiceClient) answer {
		request := proto.CloneOf(request)
		request.PageSize = size
		all := &verificationv1.ListVerificationsResponse{}
		for range 100 {
			response, err := c.ListVerifications(p.context(), request)
			if err != nil {
				return result(err)
			}
			if len(response.GetVerifications()) > int(size) {
				p.t.Errorf("a page of %d; %d were asked for", len(response.GetVerifications()), size)
			}
			all.Verifications = append(all.Verifications, response.GetVerifications()...)
			if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
				return result(nil, all)
			}
		}
		return result(errors.New("the list does not end"))
	}
}

// watch takes so many responses, or fewer and the end.
func (p *pair) watch(responses int, request *verificationv1.WatchStatusRequest) call {
	return func(c verificationv1.VerificationServiceClient) answer {
		got, err := receive(p.open(c, request), responses)
		return result(err, got...)
	}
}

// resume watches by the token of the first response to another watch.
func (p *pair) resume(first, then *verificationv1.WatchStatusRequest, responses int) call {
	return func(c verificationv1.VerificationServiceClient) answer {
		got, err := p.open(c, first).Recv()
		if err != nil {
			p.t.Fatalf("a first watch: %v", err)
		}
		then := proto.CloneOf(then)
		then.ResumeToken = got.GetResumeToken()
		return p.watch(responses, then)(c)
	}
}

type updates = grpc.ServerStreamingClient[verificationv1.WatchStatusResponse]

func (p *pair) open(c verificationv1.VerificationServiceClient, request *verificationv1.WatchStatusRequest) updates {
	p.t.Helper()
	stream, err := c.WatchStatus(p.context(), request)
	if err != nil {
		p.t.Fatal(err)
	}
	return stream
}

func receive(stream updates, responses int) (got []proto.Message, err error) {
	for range responses {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return append(got, &verificationv1.WatchStatusResponse{ResumeToken: "the end"}), nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, response)
	}
	return got, nil
}

// live opens a watch of both; next compares what comes, sorted, since sessions have no order between
// them.
func (p *pair) live(request *verificationv1.WatchStatusRequest) (next func(name string, responses int)) {
	streams := map[verificationv1.VerificationServiceClient]updates{p.server: p.open(p.server, request), p.wire: p.open(p.wire, request)}
	return func(name string, responses int) {
		p.t.Helper()
		p.same(name, func(c verificationv1.VerificationServiceClient) answer {
			got, err := receive(streams[c], responses)
			slices.SortStableFunc(got, func(a, b proto.Message) int {
				x, y := a.(*verificationv1.WatchStatusResponse).GetVerification(), b.(*verificationv1.WatchStatusResponse).GetVerification()
				return cmp.Or(cmp.Compare(successorID(x.GetSessionId()), successorID(y.GetSessionId())), cmp.Compare(x.GetRevision(), y.GetRevision()))
			})
			return result(err, got...)
		})
	}
}

// everything compares all that can be asked about a session.
func (p *pair) everything(id string) {
	p.t.Helper()
	subject := &verificationv1.GetStatusRequest_SessionId{SessionId: id}
	p.same(id+": status", p.get(&verificationv1.GetStatusRequest{Subject: subject}))
	p.same(id+": history", p.get(&verificationv1.GetStatusRequest{Subject: subject, IncludeHistory: true}))
	p.same(id+": snapshot", p.watch(1, sessionWatch(id)))
	p.same(id+": snapshot until settled", p.watch(1, untilSettled(sessionWatch(id))))
}

func sessionWatch(id string) *verificationv1.WatchStatusRequest { return bySession(id, 0) }

func erasing(r verification.Redaction) func(*verification.Object) {
	return func(o *verification.Object) { o.Redaction = r }
}

func problem(code, reason string) func(*verification.Object) {
	return func(o *verification.Object) { o.Error = verification.Error{Code: code, Reason: reason} }
}

func report(id string) func(*verification.Object) {
	return func(o *verification.Object) { o.Report = id }
}

// retryOf names the ways in which a retry is asked for.
func (p *pair) retries(name, id string) {
	p.t.Helper()
	for _, replace := range []bool{false, true} {
		p.same(fmt.Sprintf("%s: retry, replace_closed %v", name, replace),
			p.retry(&verificationv1.RetryVerificationRequest{SessionId: id, ReplaceClosed: replace, ReturnUrl: "https://shop.example/back"}))
	}
}
