package stripeapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/stripe/stripe-go/v76/form"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// sessionsPerPage is Stripe's limit of the sessions in a page.
const sessionsPerPage = 100

// Sessions returns a page of all sessions of a connected account. An empty account selects the platform's own sessions.
// Unlike events, Stripe lists every session that was ever created. Sessions returns the errors of Retrieve.
// ErrStripeUnknown means that Stripe no longer has the session query.After, or that the account has the wrong form.
func (c *Client) Sessions(ctx context.Context, account string, query verification.SessionQuery) (verification.SessionPage, error) {
	if account != "" && !accountPattern.MatchString(account) {
		return verification.SessionPage{}, verification.ErrStripeUnknown
	}
	filter := &form.Values{}
	filter.Add("limit", strconv.Itoa(sessionsPerPage))
	if query.From > 0 {
		filter.Add("created[gte]", strconv.FormatInt(query.From, 10))
	}
	if query.Before > 0 {
		filter.Add("created[lt]", strconv.FormatInt(query.Before, 10))
	}
	if query.After != "" {
		filter.Add("starting_after", query.After)
	}
	var page verification.SessionPage
	err := c.call(ctx, request{
		operation: OperationSessions, method: http.MethodGet, path: sessionsPath, account: account, form: filter, purpose: verification.PurposeCatchUp,
		decode: func(a answer) (wrong string) {
			page, wrong = c.sessionPage(a, account)
			return wrong
		},
	})
	if err != nil {
		return verification.SessionPage{}, err
	}
	return page, nil
}

// sessionPage decodes an answer. A session that cannot be used does not hide the others.
func (c *Client) sessionPage(a answer, account string) (page verification.SessionPage, wrong string) {
	var list struct {
		Object string            `json:"object"`
		Data   []json.RawMessage `json:"data"`
		More   bool              `json:"has_more"`
	}
	if stripeevent.Unmarshal(a.body, &list) != nil || list.Object != "list" {
		return verification.SessionPage{}, "an answer that is not a list"
	}
	page.AsOf, page.More = a.asOf, list.More
	var at verification.EventPage
	for _, item := range list.Data {
		locate(&at, item)
		object, err := c.object(item)
		if malformed := (*stripeevent.MalformedError)(nil); errors.As(err, &malformed) {
			id := at.Last
			if !stripeevent.ValidSessionID(id) {
				id = ""
			}
			c.config.Logger.Warn("stripe: a session of the list cannot be used", "session_id", id, "reason", malformed.Reason)
			page.Malformed = append(page.Malformed, id)
			continue
		}
		object.Account = account
		page.Objects = append(page.Objects, object)
	}
	page.Oldest, page.Newest, page.Last = at.Oldest, at.Newest, at.Last
	if page.More && page.Last == "" {
		return verification.SessionPage{}, "a list that continues, without a session to continue from"
	}
	return page, ""
}
