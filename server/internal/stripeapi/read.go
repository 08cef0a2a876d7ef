package stripeapi

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"

	"github.com/stripe/stripe-go/v76/form"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// referencePage is how many of the newest sessions of a reference are searched for one that is not redacted.
const referencePage = "10"

// maxReference is the length limit of a reference in this service, in bytes.
const maxReference = 255

var accountPattern = regexp.MustCompile(`^acct_[A-Za-z0-9_]{1,250}$`)

// Retrieve reads a session, with a new link while the session requires input. account is the connected account, or empty
// for the platform.
//
// It returns verification.ErrStripeUnknown (for an id or account of the wrong form without a request),
// ErrStripeUnavailable (which also wraps the context's error if the context ended), ErrStripeBusy,
// ErrStripeUnauthorized, ErrStripeBudget, ErrStripeExcluded or a *StripeRefusedError.
func (c *Client) Retrieve(ctx context.Context, account, id string) (verification.Retrieved, error) {
	var read verification.Retrieved
	err := c.get(ctx, request{account: account, purpose: verification.PurposeRetry}, id, func(object verification.Object, a answer) {
		read = verification.Retrieved{Object: object, AsOf: a.asOf, Link: linkOf(object, a.body)}
	})
	return read, err
}

// Read is Retrieve for another purpose than a retry. It returns no link.
func (c *Client) Read(ctx context.Context, purpose verification.Purpose, account, id string) (verification.Retrieved, error) {
	var read verification.Retrieved
	err := c.get(ctx, request{account: account, purpose: purpose}, id, func(object verification.Object, a answer) {
		read = verification.Retrieved{Object: object, AsOf: a.asOf}
	})
	return read, err
}

// get completes the request to the GET of one session and sends it. It calls use once if the answer is usable. An answer
// about another session is not usable: the mistake of a proxy must not become the status of a person.
func (c *Client) get(ctx context.Context, r request, id string, use func(verification.Object, answer)) error {
	if !stripeevent.ValidSessionID(id) || r.account != "" && !accountPattern.MatchString(r.account) {
		return verification.ErrStripeUnknown
	}
	r.operation, r.method, r.path = OperationRetrieve, http.MethodGet, sessionsPath+"/"+id
	r.decode = func(a answer) (wrong string) {
		object, err := c.object(a.body)
		if err != nil || object.ID != id {
			return "an answer that is not the requested session"
		}
		object.Account = r.account
		use(object, a)
		return ""
	}
	return c.call(ctx, r)
}

func (c *Client) object(body []byte) (verification.Object, error) {
	return stripeevent.DecodeObject(body, stripeevent.Options{ReferenceKey: c.config.ReferenceKey})
}

// linkOf returns the link in an answer. It returns no link if the link has another form than Stripe's. The status is
// still valid.
func linkOf(object verification.Object, body []byte) verification.Link {
	var link struct {
		URL          *string `json:"url"`
		ClientSecret *string `json:"client_secret"`
	}
	if object.Status != verification.StatusRequiresInput || stripeevent.Unmarshal(body, &link) != nil {
		return verification.Link{}
	}
	return verification.Link{URL: secret(link.URL), ClientSecret: secret(link.ClientSecret)}
}

func secret(s *string) verification.Secret {
	if s == nil {
		return ""
	}
	return verification.Secret(*s)
}

// FindByReference returns the platform's newest session with a client_reference_id that is not redacted. It looks at the
// newest ten sessions with the reference, and returns the newest one if all of them are redacted. Stripe cannot search
// by metadata. The result has no link. Its errors are those of Retrieve.
func (c *Client) FindByReference(ctx context.Context, reference string) (verification.Retrieved, error) {
	if reference == "" || len(reference) > maxReference {
		return verification.Retrieved{}, verification.ErrStripeUnknown
	}
	filter := &form.Values{}
	filter.Add("client_reference_id", reference)
	filter.Add("limit", referencePage)
	var found *verification.Retrieved
	err := c.call(ctx, request{
		operation: OperationFind, method: http.MethodGet, path: sessionsPath, form: filter, purpose: verification.PurposeLookup,
		decode: func(a answer) (wrong string) {
			var page struct {
				Object string            `json:"object"`
				Data   []json.RawMessage `json:"data"`
			}
			if stripeevent.Unmarshal(a.body, &page) != nil || page.Object != "list" {
				return "an answer that is not a list"
			}
			for _, body := range page.Data { // the newest first
				object, err := c.object(body)
				if err != nil {
					return "a list of other objects than sessions"
				}
				// A server that ignores the filter must not give the status of one person to another.
				if object.Reference != reference {
					continue
				}
				open := object.Redaction == verification.RedactionNone
				if found == nil || open {
					found = &verification.Retrieved{Object: object, AsOf: a.asOf}
				}
				if open {
					return ""
				}
			}
			return ""
		},
	})
	switch {
	case err != nil:
		return verification.Retrieved{}, err
	case found == nil:
		return verification.Retrieved{}, verification.ErrStripeUnknown
	}
	return *found, nil
}
