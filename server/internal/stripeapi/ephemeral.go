package stripeapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/stripe/stripe-go/v76/form"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// EphemeralKey makes a key with which one of Stripe's mobile libraries continues a session, and returns the secret of the
// key. Stripe ends the key after an hour. version is the API version that the library names. A key has the form of its
// version, so the request names that version too. account is as in Retrieve, and so are the errors.
func (c *Client) EphemeralKey(ctx context.Context, account, id, version string) (verification.Secret, error) {
	if !stripeevent.ValidSessionID(id) || account != "" && !accountPattern.MatchString(account) {
		return "", verification.ErrStripeUnknown
	}
	fields := &form.Values{}
	fields.Add("verification_session", id)
	var secret verification.Secret
	err := c.call(ctx, request{
		operation: OperationEphemeralKey, method: http.MethodPost, path: ephemeralKeysPath, account: account, purpose: verification.PurposeRetry,
		form: fields, version: version,
		decode: func(a answer) (wrong string) {
			secret, wrong = ephemeralSecret(a.body, id)
			return wrong
		},
	})
	return secret, err
}

const ephemeralKeysPath = "/v1/ephemeral_keys"

// ephemeralSecret returns the secret in an answer. An answer that names another session is not usable: the mistake of a
// proxy must not give one person's session to another person.
func ephemeralSecret(body []byte, id string) (_ verification.Secret, wrong string) {
	var key struct {
		Object     string `json:"object"`
		Secret     string `json:"secret"`
		Associated []struct {
			ID string `json:"id"`
		} `json:"associated_objects"`
	}
	if stripeevent.Unmarshal(body, &key) != nil || key.Object != "ephemeral_key" || !strings.HasPrefix(key.Secret, "ek_") {
		return "", notAKey
	}
	for _, associated := range key.Associated {
		if associated.ID != id {
			return "", notAKey
		}
	}
	return verification.Secret(key.Secret), ""
}

const notAKey = "an answer that is not an ephemeral key of the session"
