package stripeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
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

// Bounds of what is copied. Stripe's metadata alone can have 50 keys.
const (
	maxFields   = 500
	maxDepth    = 8
	maxMetadata = 50
)

// CreateLike creates a session like another one, with the same type or flow, options, metadata, client_reference_id and
// provided details. The metadata of the new session names the old one under verification.ReplacesKey, unless it already
// has 50 other keys. Stripe's page sends the person to returnURL at the end. If it is empty, Stripe's default applies.
// CreateLike returns the new id and no link, because Stripe answers every repetition with the first answer and its old
// link.
//
// A repetition within a day returns the same id if returnURL and the old session are unchanged. Otherwise it returns a
// *StripeRefusedError with the code "idempotency_error". Other errors are those of Retrieve.
func (c *Client) CreateLike(ctx context.Context, account, id, returnURL string) (newID string, err error) {
	var old []byte
	if err := c.get(ctx, request{account: account, purpose: verification.PurposeRetry}, id, func(_ verification.Object, a answer) { old = a.body }); err != nil {
		return "", err
	}
	newID, err = c.create(ctx, account, id, old, returnURL, id)
	refused := (*verification.StripeRefusedError)(nil)
	if errors.As(err, &refused) && refused.Code == verification.CodeIdempotency {
		// A replica of the version before might have been first. Its request named no predecessor.
		return c.create(ctx, account, id, old, returnURL, "")
	}
	return newID, err
}

// create creates the successor of a session whose object is old. The metadata names replaces as the replaced session. If
// replaces is empty, the metadata is copied unchanged.
func (c *Client) create(ctx context.Context, account, id string, old []byte, returnURL, replaces string) (newID string, err error) {
	fields, ok := formLike(old, returnURL, replaces)
	if !ok {
		return "", &verification.StripeRefusedError{Code: "session_too_large_to_copy"}
	}
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

// formLike returns the form that creates a session like the given one. It is made from the raw object, so it keeps options
// that are newer than stripe-go's structs. Its order is fixed, so a repetition is the same request byte for byte. ok is
// false if the session has too many fields or is nested too deeply.
func formLike(session []byte, returnURL, replaces string) (*form.Values, bool) {
	var old struct {
		Type      json.RawMessage `json:"type"`
		Flow      json.RawMessage `json:"verification_flow"`
		Options   json.RawMessage `json:"options"`
		Metadata  json.RawMessage `json:"metadata"`
		Reference json.RawMessage `json:"client_reference_id"`
		Details   json.RawMessage `json:"provided_details"`
	}
	if json.Unmarshal(session, &old) != nil {
		return nil, false
	}
	f := &flattener{values: &form.Values{}}
	// Stripe takes one of the two. "verification_flow" as a type exists only in answers.
	if string(old.Type) == `"verification_flow"` {
		f.add("verification_flow", old.Flow)
	} else {
		f.add("type", old.Type)
	}
	f.add("options", old.Options)
	f.addMetadata(old.Metadata, replaces)
	f.add("client_reference_id", old.Reference)
	f.add("provided_details", old.Details)
	if returnURL != "" {
		f.put("return_url", returnURL)
	}
	return f.values, !f.failed
}

// flattener writes JSON in Stripe's form encoding: {"a":{"b":[true]}} is a[b][0]=true. It leaves out nulls and empty
// values, because an empty value in a form means "unset".
type flattener struct {
	values *form.Values
	count  int
	failed bool // too many fields, or nested too deeply
}

func (f *flattener) add(key string, value json.RawMessage) {
	if len(value) == 0 {
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber() // to write each number exactly as it was
	var tree any
	if decoder.Decode(&tree) != nil {
		f.failed = true
		return
	}
	f.walk(key, tree, 0)
}

// addMetadata adds the metadata. It names replaces as the replaced session, instead of a session that the metadata might
// name already. It names none if Stripe would refuse one more key.
func (f *flattener) addMetadata(metadata json.RawMessage, replaces string) {
	if replaces == "" {
		f.add("metadata", metadata)
		return
	}
	var values map[string]json.RawMessage
	if len(metadata) > 0 && json.Unmarshal(metadata, &values) != nil {
		f.failed = true
		return
	}
	delete(values, verification.ReplacesKey)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		f.add("metadata["+name+"]", values[name])
	}
	if len(values) < maxMetadata {
		f.put("metadata["+verification.ReplacesKey+"]", replaces)
	}
}

func (f *flattener) walk(key string, value any, depth int) {
	if depth > maxDepth {
		f.failed = true
		return
	}
	switch value := value.(type) {
	case string:
		f.put(key, value)
	case json.Number:
		f.put(key, value.String())
	case bool:
		f.put(key, strconv.FormatBool(value))
	case []any:
		for i, element := range value {
			f.walk(key+"["+strconv.Itoa(i)+"]", element, depth+1)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			f.walk(key+"["+name+"]", value[name], depth+1)
		}
	}
}

func (f *flattener) put(key, value string) {
	if value == "" {
		return
	}
	if f.count++; f.count > maxFields {
		f.failed = true
		return
	}
	f.values.Add(key, value)
}
