package stripeapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/stripe/stripe-go/v76/form"

	"example.com/verification-status/server/internal/verification"
)

// idempotencyPrefix and the id of the old session are the Idempotency-Key of its successor. Stripe creates one successor,
// however often and by whichever replica it is requested.
const idempotencyPrefix = "verification-status-replace-"

// The number of tries, and the pause between them, while another creation with the same key is in progress.
const (
	createTries = 20
	createPause = 250 * time.Millisecond
)

// CreateLike creates a session like another one. The new session has the same type or flow, document options, metadata,
// client_reference_id, provided details, related customer and related person. Its metadata names the old session under
// verification.ReplacesKey, unless the metadata already has 50 other keys. Stripe's page sends the person to returnURL at
// the end. If it is empty, Stripe's default applies. CreateLike returns the new id and no link, because Stripe answers
// every repetition with the first answer and its old link.
//
// A repetition within a day returns the same id if returnURL and the old session are unchanged. Otherwise it returns a
// *StripeRefusedError with the code "idempotency_error". It returns a *StripeRefusedError with the code
// "session_not_copyable" if the old session has too many fields, or a field of another kind than Stripe documents. Other
// errors are those of Retrieve.
func (c *Client) CreateLike(ctx context.Context, account, id, returnURL string) (newID string, err error) {
	var old []byte
	if err := c.get(ctx, request{account: account, purpose: verification.PurposeRetry}, id, func(_ verification.Object, a answer) { old = a.body }); err != nil {
		return "", err
	}
	fields, ok := formLike(old, returnURL, id)
	if !ok {
		return "", &verification.StripeRefusedError{Code: codeNotCopyable}
	}
	newID, err = c.create(ctx, account, id, fields)
	refused := (*verification.StripeRefusedError)(nil)
	if !errors.As(err, &refused) || refused.Code != verification.CodeIdempotency {
		return newID, err
	}
	// A replica of the version before might have been first.
	former, ok := formerForm(old, returnURL, id)
	if !ok || former.Encode() == fields.Encode() {
		return "", err
	}
	return c.create(ctx, account, id, former)
}

// codeNotCopyable is the code of the error for a session whose parameters cannot be read from its object.
const codeNotCopyable = "session_not_copyable"

// create sends the form that creates the successor of a session.
func (c *Client) create(ctx context.Context, account, id string, fields *form.Values) (newID string, err error) {
	creation := request{
		operation: OperationCreate, method: http.MethodPost, path: sessionsPath, account: account, purpose: verification.PurposeRetry,
		form: fields, idempotencyKey: idempotencyPrefix + id,
		decode: func(a answer) (wrong string) {
			session, err := c.object(a.body)
			if err != nil || session.ID == id {
				return "an answer that is not a new session"
			}
			newID = session.ID
			return ""
		},
	}
	err = c.call(ctx, creation)
	// Another caller's request for the same session is in progress. Its answer will be ours too.
	for try := 1; errors.Is(err, errKeyInUse) && try < createTries && pause(ctx, createPause); try++ {
		err = c.call(ctx, creation)
	}
	return newID, err
}

// pause waits for d. It returns false if ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
