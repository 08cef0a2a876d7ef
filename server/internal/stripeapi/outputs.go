package stripeapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/stripe/stripe-go/v76/form"

	"example.com/verification-status/server/internal/comparison"
	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// The fields that a request expands. Stripe leaves them out of every other answer.
const expandOutputs = "verified_outputs"

var expandSensitive = []string{"verified_outputs.dob", "verified_outputs.id_number"}

// Outputs reads what Stripe verified in a session. If sensitive is false, that is all but the date of birth and the id number. If it is
// true, it is these two: Stripe shows them to Config.SensitiveKey alone, for 48 hours
// (https://docs.stripe.com/identity/access-verification-results). Without that key, for an account with a key of its own, and if
// Stripe refuses the key, they are hidden.
//
// Outputs returns comparison.ErrNotComparable if the session is not verified, or is redacted. Its other errors are those of Retrieve.
// The values are in no log, and no request is made for values that the answer would not have.
func (c *Client) Outputs(ctx context.Context, account, id string, sensitive bool) (comparison.Outputs, error) {
	if !sensitive {
		return c.outputs(ctx, request{account: account, operation: OperationOutputs}, id, expandOutputs)
	}
	hidden := comparison.Value{Hidden: true}
	if c.config.SensitiveKey() == "" || account != "" && c.config.AccountKey(account) != "" {
		return comparison.Outputs{DateOfBirth: hidden, IDNumber: hidden}, nil
	}
	read, err := c.outputs(ctx, request{account: account, operation: OperationSensitiveOutputs, sensitive: true}, id, expandSensitive...)
	if refused := (*verification.StripeRefusedError)(nil); errors.Is(err, errSensitiveRefused) || errors.As(err, &refused) {
		return comparison.Outputs{DateOfBirth: hidden, IDNumber: hidden}, nil
	}
	return read, err
}

// errSensitiveRefused is Stripe's refusal of the key for sensitive results: it lacks the permission, or the results are too old for it.
var errSensitiveRefused = errors.New("Stripe shows no sensitive results to STRIPE_SENSITIVE_API_KEY")

func (c *Client) outputs(ctx context.Context, r request, id string, expand ...string) (comparison.Outputs, error) {
	if !stripeevent.ValidSessionID(id) || r.account != "" && !accountPattern.MatchString(r.account) {
		return comparison.Outputs{}, verification.ErrStripeUnknown
	}
	r.method, r.path, r.purpose, r.form = http.MethodGet, sessionsPath+"/"+id, verification.PurposeLookup, &form.Values{}
	for _, field := range expand {
		r.form.Add("expand[]", field)
	}
	var found comparison.Outputs
	comparable := false
	r.decode = func(a answer) (wrong string) {
		object, err := c.object(a.body)
		if err != nil || object.ID != id {
			return "an answer that is not the requested session"
		}
		comparable = object.Status == verification.StatusVerified && object.Redaction == verification.RedactionNone
		if !comparable {
			return ""
		}
		found, wrong = decodeOutputs(a.body, r.sensitive)
		return wrong
	}
	if err := c.call(ctx, r); err != nil {
		return comparison.Outputs{}, err
	}
	if !comparable {
		return comparison.Outputs{}, comparison.ErrNotComparable
	}
	return found, nil
}

// verifiedOutputs is the part of Stripe's object that is compared.
type verifiedOutputs struct {
	FirstName *string `json:"first_name"`
	LastName  *string `json:"last_name"`
	Email     *string `json:"email"`
	Phone     *string `json:"phone"`
	IDNumber  *string `json:"id_number"`
	Address   *struct {
		PostalCode *string `json:"postal_code"`
		Country    *string `json:"country"`
	} `json:"address"`
	DOB *struct {
		Year  int `json:"year"`
		Month int `json:"month"`
		Day   int `json:"day"`
	} `json:"dob"`
}

// decodeOutputs returns the outputs in an answer. If the answer has none at all, Stripe does not show them.
func decodeOutputs(body []byte, sensitive bool) (_ comparison.Outputs, wrong string) {
	var session struct {
		Outputs *verifiedOutputs `json:"verified_outputs"`
	}
	if stripeevent.Unmarshal(body, &session) != nil {
		return comparison.Outputs{}, "an answer whose verified_outputs are not Stripe's"
	}
	hidden := comparison.Value{Hidden: true}
	verified := session.Outputs
	switch {
	case sensitive && verified == nil:
		return comparison.Outputs{DateOfBirth: hidden, IDNumber: hidden}, ""
	case sensitive:
		found := comparison.Outputs{IDNumber: valueOf(verified.IDNumber)}
		if dob := verified.DOB; dob != nil {
			found.DateOfBirth = comparison.Date(dob.Year, dob.Month, dob.Day)
		}
		return found, ""
	case verified == nil:
		return comparison.Outputs{FirstName: hidden, LastName: hidden, PostalCode: hidden, Country: hidden, Email: hidden, Phone: hidden}, ""
	}
	found := comparison.Outputs{
		FirstName: valueOf(verified.FirstName), LastName: valueOf(verified.LastName),
		Email: valueOf(verified.Email), Phone: valueOf(verified.Phone),
	}
	if address := verified.Address; address != nil {
		found.PostalCode, found.Country = valueOf(address.PostalCode), valueOf(address.Country)
	}
	return found, ""
}

func valueOf(text *string) comparison.Value {
	if text == nil {
		return comparison.Value{}
	}
	return comparison.Value{Text: comparison.Text(*text)}
}
