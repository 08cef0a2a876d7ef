package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// operatorFeature is what the server must have.
const operatorFeature = "calls for operators"

// Subject names a session: by its id, or by the reference of a person, whose newest session it is then.
type Subject struct {
	Session   string `arg:"" optional:"" placeholder:"SESSION" help:"The session (vs_...)."`
	Reference string `name:"reference" placeholder:"TEXT" help:"The client_reference_id of a person, in place of a session: the newest session with it."`
}

// Check returns an error unless exactly one of the two is set.
func (s *Subject) Check() error {
	switch {
	case s.Session == "" && s.Reference == "":
		return errors.New("which session? give its id (vs_...), or --reference")
	case s.Session != "" && s.Reference != "":
		return errors.New("give a session or --reference, not both")
	case s.Session != "" && !strings.HasPrefix(s.Session, "vs_"):
		return errors.New("the id of a session begins with vs_: for the reference of a person, give --reference")
	}
	return nil
}

// status asks for the session with its history. By reference, it asks for the summary of the person too; a server of the version
// before this one refuses that, and is asked without it.
func (s *Server) status(ctx context.Context, subject Subject) (answer *verificationv1.GetStatusResponse, err error) {
	request := &verificationv1.GetStatusRequest{IncludeHistory: true}
	if subject.Session != "" {
		request.Subject = &verificationv1.GetStatusRequest_SessionId{SessionId: subject.Session}
	} else {
		request.Subject = &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: subject.Reference}
		request.IncludePerson = true
	}
	err = s.call(ctx, operatorFeature, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		client := verificationv1.NewVerificationServiceClient(conn)
		answer, err = client.GetStatus(ctx, request)
		if request.GetIncludePerson() && status.Code(err) == codes.Unimplemented {
			request.IncludePerson = false
			answer, err = client.GetStatus(ctx, request)
		}
		return err
	})
	return answer, err
}

// Change is one change by an operator. The caller needs the rights read and override.
type Change struct {
	Subject Subject
	// Outcome is the outcome_revision that the operator saw. 0: the one at the moment of the call.
	Outcome int32
	// Ask asks the operator a question before a session is changed that was found by reference. If it returns false, nothing is
	// changed. Nil: the operator is not asked.
	Ask func(question string) bool
	// Now is the clock of the ages that are shown.
	Now func() time.Time
	Out io.Writer
}

// made is a change that the server has answered.
type made struct {
	id      string
	after   *verificationv1.Verification
	changed bool
	by      string // who made the newest change of an operator: ", recorded for NAME"
}

// AllowRetry allows the person of a session one more try, and writes what it did to Out.
func AllowRetry(ctx context.Context, server *Server, c Change) error {
	done, err := c.make(ctx, server, "Allow one more try for this session?", func(ctx context.Context, client verificationv1.OperatorServiceClient, id string, outcome int32) (*verificationv1.Verification, error) {
		answer, err := client.AllowRetry(ctx, &verificationv1.AllowRetryRequest{SessionId: id, OutcomeRevision: outcome})
		return answer.GetVerification(), err
	})
	if err != nil {
		return failed(err, "no further try was allowed", "one more try is allowed")
	}
	text := "%[1]s: one more try is allowed%[2]s.\nThe person's page offers it now. For a link to send, call RetryVerification."
	switch {
	case done.changed:
	case done.after.GetRetry().GetOverrideOpen():
		text = "%[1]s: one more try was allowed before%[2]s. Nothing was changed."
	default:
		text = "%[1]s: the person can try again without it. Nothing was changed."
	}
	_, err = fmt.Fprintf(c.Out, text+"\n", done.id, done.by)
	return err
}

// resolutionKinds has the kinds by their names in the flag.
var resolutionKinds = map[string]verificationv1.ResolutionKind{
	"":                   verificationv1.ResolutionKind_RESOLUTION_KIND_UNSPECIFIED,
	"verified-elsewhere": verificationv1.ResolutionKind_RESOLUTION_KIND_VERIFIED_ELSEWHERE,
	"declined":           verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED,
	"closed":             verificationv1.ResolutionKind_RESOLUTION_KIND_CLOSED,
}

// Resolve notes how the person of a session was dealt with elsewhere, and writes what it did to Out. name is verified-elsewhere,
// declined or closed; an empty name takes an earlier resolution back.
func Resolve(ctx context.Context, server *Server, name string, c Change) error {
	kind, known := resolutionKinds[name]
	if !known {
		return fmt.Errorf("--kind: %q is no kind", name)
	}
	takeBack := name == ""
	question := fmt.Sprintf("Resolve this session as %s?", resolutionWords(kind))
	if takeBack {
		question = "Take back the resolution of this session?"
	}
	done, err := c.make(ctx, server, question, func(ctx context.Context, client verificationv1.OperatorServiceClient, id string, outcome int32) (*verificationv1.Verification, error) {
		answer, err := client.ResolveVerification(ctx, &verificationv1.ResolveVerificationRequest{SessionId: id, Kind: kind, OutcomeRevision: outcome})
		return answer.GetVerification(), err
	})
	if err != nil {
		return failed(err, "no resolution was changed", "the resolution was changed")
	}
	text := "%[1]s: resolved as %[3]s%[2]s.\nIt is settled for this service, and retries are refused. To take it back: --take-back."
	switch {
	case takeBack && done.changed:
		text = "%[1]s: no longer resolved%[2]s."
	case takeBack:
		text = "%[1]s: not resolved. Nothing was changed."
	case !done.changed:
		text = "%[1]s: resolved as %[3]s before%[2]s. Nothing was changed."
	}
	_, err = fmt.Fprintf(c.Out, text+"\n", done.id, done.by, resolutionWords(kind))
	return err
}

// operate is one call of OperatorService.
type operate func(ctx context.Context, client verificationv1.OperatorServiceClient, id string, outcome int32) (*verificationv1.Verification, error)

// make reads the session, asks the operator, changes the session, and finds out for whom that was recorded.
func (c *Change) make(ctx context.Context, server *Server, question string, do operate) (made, error) {
	before, err := server.status(ctx, c.Subject)
	if err != nil {
		return made{}, err
	}
	id, outcome := before.GetVerification().GetSessionId(), c.Outcome
	if outcome == 0 {
		outcome = before.GetVerification().GetOutcomeRevision()
	}
	if c.Subject.Reference != "" {
		if err := writeSummary(c.Out, before, c.Now()); err != nil {
			return made{}, err
		}
		if c.Ask != nil && !c.Ask(question) {
			return made{}, errors.New("it was not confirmed, with y; for no question, give --yes or the session")
		}
	}
	done, unknown := made{id: id}, false
	err = server.call(ctx, operatorFeature, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		done.after, err = do(ctx, verificationv1.NewOperatorServiceClient(conn), id, outcome)
		unknown = mayHaveChanged(err)
		return inWords(err, id, outcome)
	})
	if unknown {
		return made{}, &unknownError{id, err}
	}
	if err != nil {
		return made{}, err
	}
	entry := newestOperator(before.GetHistory())
	if done.changed = done.after.GetRevision() > before.GetVerification().GetRevision(); done.changed {
		after, err := server.status(ctx, Subject{Session: id})
		if err != nil {
			_, err = fmt.Fprintf(c.Out, "The server has done it; for whom it was recorded cannot be shown: %s\n", err)
			return done, err
		}
		// A webhook at the same time can have made the newer revision.
		newest := newestOperator(after.GetHistory())
		done.changed = len(after.GetHistory()) == 0 || newest.GetRevision() > before.GetVerification().GetRevision()
		entry = newest
	}
	if entry != nil {
		done.by = ", recorded without a name"
		if name := entry.GetPrincipal(); name != "" {
			done.by = ", recorded for " + printable(name)
		}
	}
	return done, nil
}

// unknownError is a call of an operator without an answer: the server can have changed the session.
type unknownError struct {
	id  string
	err error
}

func (e *unknownError) Error() string { return e.err.Error() }

func (e *unknownError) Unwrap() error { return e.err }

// mayHaveChanged reports whether a call that failed can have changed the session: the answer was lost, or the store took the change and
// did not confirm it.
func mayHaveChanged(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown:
		return true
	default:
		return false
	}
}

// failed returns the error of a command: that nothing was done, or that it is not known whether it was done.
func failed(err error, nothing, done string) error {
	var unknown *unknownError
	if errors.As(err, &unknown) {
		return fmt.Errorf("it is not known whether %s: %w: repeat the command, it changes nothing twice, or look at the session: operator show %s", done, err, unknown.id)
	}
	return fmt.Errorf("%s: %w", nothing, err)
}

// newestOperator returns the newest change by an operator in a history, or nil.
func newestOperator(history []*verificationv1.HistoryEntry) (newest *verificationv1.HistoryEntry) {
	for _, entry := range history {
		if entry.GetSource() == verificationv1.Source_SOURCE_OPERATOR {
			newest = entry
		}
	}
	return newest
}

// inWords returns an error that says what an operator does next, if the outcome is another one by now. It returns other errors as
// they are.
func inWords(err error, id string, outcome int32) error {
	answer, ok := status.FromError(err)
	if err == nil || !ok || answer.Code() != codes.Aborted {
		return err
	}
	for _, detail := range answer.Details() {
		if _, again := detail.(*errdetails.RetryInfo); again { // writers at the same time, not another outcome
			return err
		}
	}
	return fmt.Errorf("the outcome is not that of revision %d any more: look at the session, and decide again: operator show %s", outcome, id)
}
