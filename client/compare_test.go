package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestCompare(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(session("vs_1", verified))
	server.SetOutputs("vs_1", client.Expected{FirstName: "Ada", DateOfBirth: "1815-12-10"})
	fields, err := c.Compare(within(t), "vs_1", client.Expected{FirstName: "Ada", DateOfBirth: "1815-12-11", Country: "GB"})
	if err != nil {
		t.Fatal(err)
	}
	want := []*verificationv1.FieldComparison{
		{Field: "first_name", Result: verificationv1.MatchResult_MATCH_RESULT_MATCH, Rule: verificationv1.MatchRule_MATCH_RULE_EXACT},
		{Field: "date_of_birth", Result: verificationv1.MatchResult_MATCH_RESULT_MISMATCH},
		{Field: "country", Result: verificationv1.MatchResult_MATCH_RESULT_NOT_VERIFIED},
	}
	if diff := cmp.Diff(want, fields, protocmp.Transform(), protocmp.IgnoreFields(&verificationv1.FieldComparison{}, "rule")); diff != "" {
		t.Errorf("the comparison (-want +got):\n%s", diff)
	}
}

// TestCompareSendsEachField: a field that is mixed up with another one would show here.
func TestCompareSendsEachField(t *testing.T) {
	server := newServer(t)
	server.Set(session("vs_1", verified))
	var got *verificationv1.CompareVerifiedOutputsRequest
	server.OnCompare(func(r *verificationv1.CompareVerifiedOutputsRequest) (*verificationv1.CompareVerifiedOutputsResponse, error) {
		got = r
		return &verificationv1.CompareVerifiedOutputsResponse{}, nil
	})
	if _, err := server.Client().Compare(within(t), "vs_1", everyField); err != nil {
		t.Fatal(err)
	}
	want := &verificationv1.CompareVerifiedOutputsRequest{
		SessionId: "vs_1", FirstName: "Ada", LastName: "Lovelace", DateOfBirth: "1815-12-10", PostalCode: "1011 AB", Country: "NL",
		IdNumber: "6789", Email: "ada@mail.test", Phone: "+31201234567",
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("the request (-want +got):\n%s", diff)
	}
}

var everyField = client.Expected{
	FirstName: "Ada", LastName: "Lovelace", DateOfBirth: "1815-12-10", PostalCode: "1011 AB", Country: "NL",
	IDNumber: "6789", Email: "ada@mail.test", Phone: "+31201234567",
}

func TestCompareErrors(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(session("vs_open", requiresInput))
	server.Set(session("vs_1", verified))
	for name, test := range map[string]struct {
		id       string
		expected client.Expected
		want     error
	}{
		"an unknown session":       {"vs_none", everyField, client.ErrNotFound},
		"a session not verified":   {"vs_open", everyField, client.ErrNotComparable},
		"no field":                 {"vs_1", client.Expected{}, client.ErrInvalidRequest},
		"a date of another form":   {"vs_1", client.Expected{DateOfBirth: "10.12.1815"}, client.ErrInvalidRequest},
		"a field that is not text": {"vs_1", client.Expected{LastName: "\xff"}, client.ErrInvalidRequest},
	} {
		_, err := c.Compare(within(t), test.id, test.expected)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v; want %v", name, err, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), "Lovelace") || strings.Contains(err.Error(), "1815")) {
			t.Errorf("%s: the error has a value: %v", name, err)
		}
	}
}

// TestCompareIsNotRepeated: each call costs one of the limit, so the Client makes no second try.
func TestCompareIsNotRepeated(t *testing.T) {
	server := newServer(t)
	server.Set(session("vs_1", verified))
	server.FailNext(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE))
	if _, err := server.Client().Compare(within(t), "vs_1", everyField); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("after one failure: %v; want ErrUnavailable", err)
	}
}

// TestExpectedDoesNotShowItself, whatever prints, logs or encodes it.
func TestExpectedDoesNotShowItself(t *testing.T) {
	encoded, err := json.Marshal(struct{ E client.Expected }{everyField})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"json": string(encoded)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts[verb] = fmt.Sprintf(verb, everyField) + fmt.Sprintf(verb, &everyField) + fmt.Sprintf(verb, []any{everyField})
	}
	var logged strings.Builder
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&logged, nil), slog.NewTextHandler(&logged, nil)} {
		slog.New(handler).Info("a comparison", "expected", everyField, "pointer", &everyField)
	}
	texts["slog"] = logged.String()
	for name, text := range texts {
		for _, value := range []string{"Ada", "Lovelace", "1815", "1011", "NL", "6789", "mail.test", "+31", "416461"} {
			if strings.Contains(text, value) {
				t.Errorf("%s shows %q: %s", name, value, text)
			}
		}
		if !strings.Contains(text, "[redacted]") {
			t.Errorf("%s: %s; want [redacted]", name, text)
		}
	}
}
