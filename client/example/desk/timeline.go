package main

import (
	"strings"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// moment is one input of a session's history, in words.
type moment struct {
	Number  int    // from the oldest one
	Tone    string // good, bad, wait, calm or open
	Title   string
	Text    string // what became of it, if that is not evident
	Reason  string // Stripe's own words
	By      string // the name of the caller
	Source  string
	Time    string
	Machine string // Time, for programs
	Note    string // revision and event
}

// timeline returns the history in words, the newest first.
func timeline(history []*verificationv1.HistoryEntry, times clock) []moment {
	var all []moment
	for i := len(history) - 1; i >= 0; i-- {
		e := history[i]
		m := happened(e)
		m.Number = i
		m.Text = strings.TrimSpace(m.Text + " " + became[e.GetEffect()])
		if e.GetSource() < verificationv1.Source_SOURCE_RETRY || e.GetSource() == verificationv1.Source_SOURCE_IMPORT { // others repeat it
			m.Reason = e.GetError().GetReason()
		}
		m.By = e.GetPrincipal()
		m.Source = sources[e.GetSource()]
		when := e.GetRecordTime()
		if e.GetEventTime() != nil {
			when = e.GetEventTime()
		}
		m.Time, m.Machine, m.Note = times.exact(when), times.machine(when), note(e)
		all = append(all, m)
	}
	return all
}

// became says what an input did, unless it simply became the state.
var became = map[verificationv1.Effect]string{
	verificationv1.Effect_EFFECT_APPLIED: "",
	verificationv1.Effect_EFFECT_STALE:   "It arrived late and changed nothing.",
	verificationv1.Effect_EFFECT_COUNTED: "It arrived late: only the number of failed submissions changed.",
	verificationv1.Effect_EFFECT_PENDING: "Its order is uncertain until Stripe is asked again.",
}

var sources = map[verificationv1.Source]string{
	verificationv1.Source_SOURCE_UNSPECIFIED: "A newer version of the service",
	verificationv1.Source_SOURCE_WEBHOOK:     "Stripe’s webhook",
	verificationv1.Source_SOURCE_STRIPE_API:  "Asked at Stripe",
	verificationv1.Source_SOURCE_RETRY:       "Retry",
	verificationv1.Source_SOURCE_REPLACEMENT: "Replacement",
	verificationv1.Source_SOURCE_OPERATOR:    "Operator",
	verificationv1.Source_SOURCE_IMPORT:      "Import",
	verificationv1.Source_SOURCE_COMPARISON:  "Comparison",
}

// happened returns title, text and tone of an input.
func happened(e *verificationv1.HistoryEntry) moment {
	switch e.GetSource() {
	case verificationv1.Source_SOURCE_RETRY:
		return moment{Tone: "open", Title: "A retry was granted", Text: "The person got a new link, and it counts as one retry."}
	case verificationv1.Source_SOURCE_REPLACEMENT:
		return moment{Tone: "calm", Title: "A closed check was replaced", Text: "The newer check takes over what was counted."}
	case verificationv1.Source_SOURCE_OPERATOR:
		return operated(e.GetOperation())
	case verificationv1.Source_SOURCE_COMPARISON:
		text := "What was compared is not kept."
		if fields := e.GetComparedFields(); len(fields) > 0 {
			text = "Compared: " + strings.ReplaceAll(strings.Join(fields, ", "), "_", " ") + ". The values are not kept."
		}
		return moment{Tone: "calm", Title: "Verified data was compared", Text: text}
	}
	m := reported(e)
	if e.GetSource() == verificationv1.Source_SOURCE_IMPORT {
		m.Text = "Found by the import of older checks. " + m.Text
	}
	return m
}

func operated(operation verificationv1.Operation) moment {
	switch operation {
	case verificationv1.Operation_OPERATION_ALLOW_RETRY:
		return moment{Tone: "open", Title: "One more try was allowed"}
	case verificationv1.Operation_OPERATION_RESOLVE:
		return moment{Tone: "calm", Title: "Marked as dealt with"}
	case verificationv1.Operation_OPERATION_TAKE_BACK:
		return moment{Tone: "calm", Title: "The mark “dealt with” was taken back"}
	}
	return moment{Tone: "calm", Title: "An operator changed something", Text: "A newer version of the service knows what."}
}

// reported returns what Stripe reported.
func reported(e *verificationv1.HistoryEntry) moment {
	switch {
	case strings.HasSuffix(e.GetEventType(), "verification_session.created"):
		return moment{Tone: "calm", Title: "The check began", Text: "The person got a link."}
	case strings.HasSuffix(e.GetEventType(), "verification_session.redacted"):
		return moment{Tone: "calm", Title: "The person’s data was erased"}
	}
	switch e.GetStatus() {
	case verificationv1.Status_STATUS_VERIFIED:
		return moment{Tone: "good", Title: "Verified"}
	case verificationv1.Status_STATUS_PROCESSING:
		return moment{Tone: "wait", Title: "Submitted", Text: "Stripe began to check."}
	case verificationv1.Status_STATUS_CANCELED:
		return moment{Tone: "calm", Title: "The check was closed"}
	case verificationv1.Status_STATUS_REQUIRES_INPUT:
		if e.GetError() == nil {
			return moment{Tone: "wait", Title: "Waits for the person", Text: "Nothing was submitted, or Stripe opened the check again."}
		}
		words := wordsOf(e.GetError())
		if e.GetError().GetCode() == verificationv1.ErrorCode_ERROR_CODE_ABANDONED {
			return moment{Tone: "wait", Title: words.What, Text: "It costs no try."}
		}
		return moment{Tone: "bad", Title: words.What}
	}
	return moment{Tone: "wait", Title: "Stripe reported a status that this page does not know"}
}

// note returns what an engineer needs to find the input again.
func note(e *verificationv1.HistoryEntry) string {
	parts := []string{"no change"}
	if e.GetRevision() > 0 {
		parts = []string{"revision " + number(e.GetRevision())}
	}
	for _, text := range []string{e.GetEventType(), e.GetEventId()} {
		if text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, " · ")
}
