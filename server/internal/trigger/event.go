package trigger

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// The styles of events.
const (
	StyleSnapshot = "snapshot"
	StyleThin     = "thin"
	StyleBoth     = "both"
)

const (
	sessionPrefix = "identity.verification_session."
	thinPrefix    = "v1."
	typePing      = "v2.core.event_destination.ping"
	typeLeft      = "account.application.deauthorized"
	// apiVersion is the API version of snapshot events.
	apiVersion = "2026-08-26.dahlia"
)

// Event says which event to make. Only Type is required.
type Event struct {
	// Type is a type of Stripe's events. The last word is enough for the types of Identity sessions, such as verified, and for ping and
	// deauthorized. Of other products, only the types in OtherTypes are known. A type that begins with v1. or v2. is thin whatever Style
	// says.
	Type string
	// Style is snapshot, thin or both. Empty: snapshot.
	Style string
	// ID is the id of the event, or of the snapshot event of both. Empty: a new one.
	ID string
	// SnapshotID is the id that a thin event names as its snapshot event. Empty: none, or that of both.
	SnapshotID string
	// Session is the id of the session. Empty: a new one.
	Session string
	// Account is the connected account that the event names. Context is the same for an event of an organization: an account, or a path
	// that ends with one. Both can be empty.
	Account, Context string
	// Reference is the client_reference_id of the session. It can be empty.
	Reference string
	// Code is the error code of a session that requires input after a failure.
	Code string
	// Live is true for an event of live mode.
	Live bool
}

// Delivery is one event, ready to be sent.
type Delivery struct {
	Style, Type string
	EventID     string
	// About is the id of the object that the event is about.
	About string
	Body  []byte
}

var (
	sessionPattern = regexp.MustCompile(`^vs_[A-Za-z0-9_]{1,252}$`)
	eventPattern   = regexp.MustCompile(`^evt_[A-Za-z0-9_]{1,250}$`)
	accountPattern = regexp.MustCompile(`^acct_[A-Za-z0-9_]{1,250}$`)
	codePattern    = regexp.MustCompile(`^[a-z0-9_]{1,100}$`)
)

// Types returns the short names that Event.Type accepts.
func Types() []string {
	var names []string
	for _, eventType := range verification.EventTypes {
		names = append(names, strings.TrimPrefix(eventType, sessionPrefix))
	}
	return append(names, "ping", "deauthorized")
}

// OtherTypes returns the types of other products that Event.Type accepts, in full.
func OtherTypes() []string {
	return []string{
		typePing, typeLeft, "account.application.authorized", "account.updated", "charge.succeeded", "checkout.session.completed", "customer.created",
		"invoice.paid", "payment_intent.succeeded", "v2.core.account.updated",
	}
}

// known reports whether Stripe has such a type.
func (e *Event) known() bool {
	return slices.Contains(verification.EventTypes, e.Type) || slices.Contains(OtherTypes(), e.Type)
}

// Make returns the event of each style, the snapshot event first. Its error names everything that is wrong with e.
func Make(e Event, now time.Time) ([]Delivery, error) {
	given := e.Session != ""
	e.complete()
	if err := e.check(given); err != nil {
		return nil, err
	}
	var made []Delivery
	if e.Style != StyleThin {
		made = append(made, e.snapshot(now))
	}
	if e.Style != StyleSnapshot {
		made = append(made, e.thin(now))
	}
	return made, nil
}

// complete writes the type in full, and fills in what is empty.
func (e *Event) complete() {
	switch name := e.Type; {
	case name == "ping":
		e.Type = typePing
	case name == "deauthorized":
		e.Type = typeLeft
	case slices.Contains(Types(), name):
		e.Type = sessionPrefix + name
	}
	if rest, ok := strings.CutPrefix(e.Type, thinPrefix+sessionPrefix); ok {
		e.Type, e.Style = sessionPrefix+rest, StyleThin
	}
	if strings.HasPrefix(e.Type, thinPrefix) || strings.HasPrefix(e.Type, "v2.") {
		e.Style = StyleThin
	}
	if e.Style == "" {
		e.Style = StyleSnapshot
	}
	if e.ID == "" {
		e.ID = "evt_trigger" + rand.Text()
	}
	if e.Session == "" {
		e.Session = "vs_trigger" + rand.Text()
	}
	if e.Type == typeLeft && e.Account == "" {
		e.Account = "acct_trigger" + rand.Text()
	}
}

// check returns an error that names everything that is wrong. given says whether the session was named.
func (e *Event) check(given bool) error {
	var wrong []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	_, account, path := cutLast(e.Context, "/")
	if !path {
		account = e.Context
	}
	add(!e.known(), "the type must be one of %s, of the six in full, such as %sverified, or one of %s", strings.Join(Types(), ", "), sessionPrefix, strings.Join(OtherTypes(), ", "))
	add(!slices.Contains([]string{StyleSnapshot, StyleThin, StyleBoth}, e.Style), "--style must be snapshot, thin or both")
	add(e.Style != StyleSnapshot && e.Type == typeLeft, "%s exists as snapshot event only", typeLeft)
	add(!sessionPattern.MatchString(e.Session), "--session must be the id of a session, such as vs_1Abc")
	add(!eventPattern.MatchString(e.ID), "--event must be the id of an event, such as evt_1Abc")
	add(e.SnapshotID != "" && !eventPattern.MatchString(e.SnapshotID), "--snapshot-event must be the id of an event, such as evt_1Abc")
	add(e.Account != "" && !accountPattern.MatchString(e.Account), "--account must be the id of a connected account, such as acct_1Abc")
	add(e.Context != "" && !accountPattern.MatchString(account), "--context must be an account, such as acct_1Abc, or a path that ends with one")
	add(e.Code != "" && !codePattern.MatchString(e.Code), "--code must be an error code, such as document_expired")
	if e.known() {
		add(given && !e.ofSession(), "--session has no effect on %s", e.Type)
		add(e.SnapshotID != "" && e.Style != StyleThin, "--snapshot-event has an effect on a thin event alone")
		add(e.Reference != "" && (!e.ofSession() || e.Style == StyleThin), "--reference has an effect on snapshot events of sessions only")
		add(e.Code != "" && (e.Type != verification.EventRequiresInput || e.Style == StyleThin), "--code has an effect on the snapshot event requires_input only")
	}
	return errors.Join(wrong...)
}

// cutLast is strings.Cut around the last separator.
func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

// ofSession reports whether the event is about an Identity session.
func (e *Event) ofSession() bool { return strings.HasPrefix(e.Type, sessionPrefix) }

// snapshot returns the event with the object in it, as API v1 has it.
func (e *Event) snapshot(now time.Time) Delivery {
	about, object := "", map[string]any{"id": "obj_trigger", "object": "other"}
	switch {
	case e.ofSession():
		about, object = e.Session, e.session(now)
	case e.Type == typeLeft:
		about, object = e.Account, map[string]any{"id": "ca_trigger", "object": "application", "name": "verification-status trigger"}
	}
	body := map[string]any{
		"id": e.ID, "object": "event", "api_version": apiVersion, "created": now.Unix(), "data": map[string]any{"object": object},
		"livemode": e.Live, "pending_webhooks": 1, "request": map[string]any{"id": nil, "idempotency_key": nil}, "type": e.Type,
	}
	if e.Account != "" {
		body["account"] = e.Account
	}
	if e.Context != "" {
		body["context"] = e.Context
	}
	return Delivery{Style: StyleSnapshot, Type: e.Type, EventID: e.ID, About: about, Body: encode(body)}
}

// session returns the session as Stripe shows it after the event. Links are null in webhooks.
func (e *Event) session(now time.Time) map[string]any {
	status, failure, report, redaction := strings.TrimPrefix(e.Type, sessionPrefix), any(nil), any(nil), any(nil)
	reference := any(nil)
	if e.Reference != "" {
		reference = e.Reference
	}
	switch e.Type {
	case verification.EventCreated:
		status = "requires_input"
	case verification.EventRequiresInput:
		report, failure = "vr_trigger", map[string]any{"code": orDefault(e.Code, "document_expired"), "reason": "The document is expired."}
	case verification.EventVerified:
		report = "vr_trigger"
	case verification.EventRedacted:
		status, report, redaction = "verified", "vr_trigger", map[string]any{"status": "redacted"}
		if e.Reference != "" {
			reference = "[redacted]"
		}
	}
	return map[string]any{
		"id": e.Session, "object": "identity.verification_session", "client_reference_id": reference, "client_secret": nil,
		"created": now.Add(-10 * time.Minute).Unix(), "last_error": failure, "last_verification_report": report, "livemode": e.Live,
		"metadata": map[string]any{}, "options": map[string]any{"document": map[string]any{"require_matching_selfie": true}},
		"provided_details": nil, "redaction": redaction, "related_customer": nil, "related_customer_account": nil,
		"status": status, "type": "document", "url": nil,
	}
}

// thin returns the event without an object, as API v2 has it.
func (e *Event) thin(now time.Time) Delivery {
	d := Delivery{Style: StyleThin, Type: e.Type, EventID: e.ID}
	related := map[string]any{"id": "obj_trigger", "type": "other", "url": "/v2/core/others/obj_trigger"}
	switch {
	case e.ofSession():
		d.Type, d.About = thinPrefix+e.Type, e.Session
		related = map[string]any{"id": e.Session, "type": "identity.verification_session", "url": "/v1/identity/verification_sessions/" + e.Session}
	case e.Type == typePing:
		d.About = "ed_trigger"
		related = map[string]any{"id": d.About, "type": "v2.core.event_destination", "url": "/v2/core/event_destinations/" + d.About}
	}
	body := map[string]any{
		"object": "v2.core.event", "type": d.Type, "livemode": e.Live, "created": now.UTC().Format("2006-01-02T15:04:05.000Z"),
		"context": nil, "reason": nil, "related_object": related,
	}
	if context := orDefault(e.Context, e.Account); context != "" {
		body["context"] = context
	}
	if e.SnapshotID != "" {
		body["snapshot_event"] = e.SnapshotID
	}
	if e.Style == StyleBoth {
		// Each of the two events of one change has an id of its own.
		body["snapshot_event"] = e.ID
		d.EventID = "evt_triggerthin" + rand.Text()
	}
	body["id"] = d.EventID
	d.Body = encode(body)
	return d
}

func orDefault(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// encode returns indented JSON, like Stripe's.
func encode(v any) []byte {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("trigger: " + err.Error()) // plain maps and texts always encode
	}
	return body
}
