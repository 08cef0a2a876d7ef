package stripesim

import "slices"

// choices are the outcomes that a page offers for one session, in groups for people.
type choices struct {
	First  []choice // the most common ones: verified, then three failures
	Groups []choiceGroup
	More   int // choices in Groups
}

type choiceGroup struct {
	Title   string
	Choices []choice
}

type choice struct{ Value, Text string }

// commonFailures come first, in this order, if the session can have them.
var commonFailures = []string{"document_expired", "selfie_face_mismatch", "id_number_mismatch", "document_unverified_other", "under_supported_age",
	"consent_declined"}

const commonFailuresShown = 3

// offered returns the outcomes that Stripe can produce for a session of this type, with these options.
func (p *sessionParams) offered() choices {
	first := []string{OutcomeVerified}
	for _, code := range commonFailures {
		if p.canHave(code) && len(first) <= commonFailuresShown {
			first = append(first, code)
		}
	}
	out := choices{First: []choice{{OutcomeVerified, "The identity is verified."}}}
	for _, code := range first[1:] {
		out.First = append(out.First, choice{code, reasonFor(code)})
	}
	for _, g := range errorGroups {
		group := choiceGroup{Title: g.title + " problems"}
		for _, c := range g.codes {
			if c.code != OutcomeAbandoned && p.canHave(c.code) && !slices.Contains(first, c.code) {
				group.Choices = append(group.Choices, choice{c.code, c.reason})
			}
		}
		out.add(group)
	}
	out.add(choiceGroup{"Leave without submitting", []choice{
		{OutcomeAbandoned, "Close the page: nothing is submitted, and the session can be tried again."},
		{OutcomeCanceled, "Cancel the session, as the business would. This cannot be undone."},
	}})
	return out
}

func (c *choices) add(group choiceGroup) {
	if len(group.Choices) > 0 {
		c.Groups = append(c.Groups, group)
		c.More += len(group.Choices)
	}
}

// canHave reports whether a check of this type, with these options, can fail for this reason. A
// verification flow's checks are set in the Dashboard, so it can fail for every reason.
func (p *sessionParams) canHave(code string) bool {
	if p.kind == "verification_flow" {
		return true
	}
	o := p.options
	if o == nil {
		o = &sessionOptions{}
	}
	document := p.kind == "document" || o.Document != nil
	number := p.kind == "id_number" || o.IDNumber != nil || o.Document != nil && isTrue(o.Document.RequireIDNumber)
	switch titleOf(code) {
	case "Session":
		return code != "device_not_supported" || document // the device needs a camera for a document only
	case "Document":
		return document
	case "ID number":
		return number && (document || code != "id_number_insufficient_document_data")
	case "Selfie":
		return o.Document != nil && isTrue(o.Document.RequireMatchingSelfie)
	case "Email":
		return o.Email != nil && isTrue(o.Email.RequireVerification)
	case "Phone":
		return o.Phone != nil && isTrue(o.Phone.RequireVerification)
	default:
		return false // Stripe checks an address in flows only, by invitation
	}
}

func isTrue(b *bool) bool { return b != nil && *b }

// titleOf returns the title of a code's group; "" for a code that Stripe does not document.
func titleOf(code string) string {
	for _, g := range errorGroups {
		if slices.ContainsFunc(g.codes, func(c errorCode) bool { return c.code == code }) {
			return g.title
		}
	}
	return ""
}

// isOutcome reports whether the pages accept the outcome, so that a typing error does not become an error code. They accept every
// documented code for every type of session: a script that posts one tests its own handling of the code, and Stripe can send any of
// them.
func isOutcome(outcome string) bool {
	return outcome == OutcomeVerified || outcome == OutcomeCanceled || titleOf(outcome) != ""
}
