package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestStatusAndHistory(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(person("vs_1", "user-42", requiresInput))
	server.Set(person("vs_1", "user-42", verified))
	for name, subject := range map[string]client.Subject{"session": client.Session("vs_1"), "reference": client.Reference("user-42")} {
		v, err := c.Status(within(t), subject, client.MinRevision(2))
		if err != nil || v.GetStatus() != verified || v.GetSessionId() != "vs_1" {
			t.Errorf("by %s: %v, %v", name, v, err)
		}
		v, history, err := c.History(within(t), subject)
		if err != nil || v.GetRevision() != 2 || len(history) != 2 || history[0].GetStatus() != requiresInput {
			t.Errorf("by %s: %v, %v, %v", name, v, history, err)
		}
	}
	if _, err := c.Status(within(t), client.Session("vs_1"), client.MinRevision(3)); !errors.Is(err, client.ErrRevisionLost) {
		t.Errorf("a revision that never was: %v", err)
	}
	if v, err := c.Status(within(t), client.Session("vs_none")); v != nil || !errors.Is(err, client.ErrNotFound) {
		t.Errorf("an unknown session: %v, %v", v, err)
	}
}

func TestWhatCannotBeAskedIsInvalid(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	for name, subject := range map[string]client.Subject{
		"nobody": {}, "not UTF-8": client.Reference("\xff"), "no id": client.Session("pi_1"), "too long": client.Reference(strings.Repeat("x", 256)),
	} {
		if _, err := c.Status(within(t), subject); !errors.Is(err, client.ErrInvalidRequest) {
			t.Errorf("%s: Status: %v", name, err)
		}
		for _, err := range c.Watch(within(t), subject) {
			if !errors.Is(err, client.ErrInvalidRequest) {
				t.Errorf("%s: Watch: %v", name, err)
			}
		}
	}
	for _, token := range []string{"\xff", "nonsense"} {
		for _, err := range c.Watch(within(t), client.Session("vs_1"), client.ResumeFrom(token)) {
			if !errors.Is(err, client.ErrInvalidRequest) {
				t.Errorf("token %q: %v", token, err)
			}
		}
	}
	if _, err := c.Retry(within(t), "vs_\xff"); !errors.Is(err, client.ErrInvalidRequest) {
		t.Errorf("Retry: %v", err)
	}
	for _, text := range []string{"\xff", "nonsense"} {
		for name, option := range map[string]client.RetryOption{"account": client.Account(text), "version": client.EphemeralKey(text), "URL": client.ReplaceClosed(text)} {
			if _, err := c.Retry(within(t), "vs_1", option); !errors.Is(err, client.ErrInvalidRequest) {
				t.Errorf("Retry with the %s %q: %v", name, text, err)
			}
		}
		if _, err := c.Status(within(t), client.Session("vs_1"), client.Account(text)); !errors.Is(err, client.ErrInvalidRequest) {
			t.Errorf("Status with the account %q: %v", text, err)
		}
	}
	if _, err := c.Status(within(t), client.Reference("person"), client.Account("acct_1")); !errors.Is(err, client.ErrInvalidRequest) {
		t.Errorf("Status of a reference with an account: %v", err)
	}
}

func TestTheAccountOfASession(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	of := session("vs_1", requiresInput)
	of.Account = "acct_1"
	server.Set(of)
	for account, found := range map[string]bool{"acct_1": true, "": true, "acct_2": false} {
		v, status := c.Status(within(t), client.Session("vs_1"), client.Account(account))
		_, history, err := c.History(within(t), client.Session("vs_1"), client.Account(account))
		link, retry := c.Retry(within(t), "vs_1", client.Account(account))
		for name, err := range map[string]error{"Status": status, "History": err, "Retry": retry} {
			if found && err != nil || !found && !errors.Is(err, client.ErrNotFound) {
				t.Errorf("%s in %q: %v; found: want %v", name, account, err, found)
			}
		}
		if found && (v.GetAccount() != "acct_1" || len(history) != 1 || link.URL.Reveal() == "" || link.EphemeralKeySecret.Reveal() != "") {
			t.Errorf("in %q: %v, %v, %v", account, v, history, link)
		}
	}
	if link, err := c.Retry(within(t), "vs_1", client.EphemeralKey("2026-09-30.endive")); err != nil || link.EphemeralKeySecret.Reveal() == "" || link.URL.Reveal() == "" {
		t.Errorf("with a version: %v, %v; want a key and a link", link, err)
	}
}

func TestWhatStripeRefusesHasItsCode(t *testing.T) {
	server := newServer(t)
	for want, refused := range map[string]error{
		"no_link": clienttest.StripeRefused("no_link"),
		"":        clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STRIPE_SESSION_UNKNOWN),
	} {
		server.OnRetry(func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
			return nil, refused
		})
		_, err := server.Client().Retry(within(t), "vs_1")
		var e *client.Error
		if !errors.As(err, &e) || e.Metadata["stripe_code"] != want || e.Code != codes.FailedPrecondition || errors.Is(err, client.ErrNotFound) || errors.Is(err, client.ErrUnavailable) {
			t.Errorf("%v; want FAILED_PRECONDITION with the stripe_code %q", err, want)
		}
	}
}

func TestStatusIsTriedAgain(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(session("vs_1", verified))
	away := clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
	server.FailNext(away, away)
	if v, err := c.Status(within(t), client.Session("vs_1")); err != nil || v.GetStatus() != verified {
		t.Errorf("after two failures: %v, %v", v, err)
	}
	server.FailNext(away)
	if _, err := c.Retry(within(t), "vs_1"); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("a retry was repeated by itself: %v", err)
	}
}

func TestRetryGivesALinkThatDoesNotShowItself(t *testing.T) {
	server := newServer(t)
	var asked *verificationv1.RetryVerificationRequest
	server.OnRetry(func(request *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
		asked = request
		return &verificationv1.RetryVerificationResponse{
			Verification: session("vs_2", requiresInput), ClientSecret: "vs_2_secret_hush", Url: "https://verify.stripe.test/hush",
			EphemeralKeySecret: "ek_test_hush",
		}, nil
	})
	link, err := server.Client().Retry(within(t), "vs_1", client.ReplaceClosed("https://shop.test/back"), client.EphemeralKey("2026-09-30.endive"), client.Account("acct_1"))
	if err != nil {
		t.Fatal(err)
	}
	if !asked.GetReplaceClosed() || asked.GetReturnUrl() != "https://shop.test/back" || asked.GetSessionId() != "vs_1" ||
		asked.GetEphemeralKeyVersion() != "2026-09-30.endive" || asked.GetAccount() != "acct_1" {
		t.Errorf("asked %v", asked)
	}
	if link.EphemeralKeySecret.Reveal() != "ek_test_hush" {
		t.Errorf("ephemeral key %q", link.EphemeralKeySecret.Reveal())
	}
	if link.ClientSecret.Reveal() != "vs_2_secret_hush" || link.URL.Reveal() != "https://verify.stripe.test/hush" || link.Verification.GetSessionId() != "vs_2" {
		t.Errorf("link %v, %q, %q", link.Verification, link.ClientSecret.Reveal(), link.URL.Reveal())
	}
	encoded, err := json.Marshal(link)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("a retry", "link", link, "url", link.URL)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", *link, *link, *link, link.URL), string(encoded), logged.String()} {
		if strings.Contains(text, "hush") || !strings.Contains(text, "[redacted]") {
			t.Errorf("a secret shows: %s", text)
		}
	}
}
