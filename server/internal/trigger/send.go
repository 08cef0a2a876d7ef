package trigger

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
)

const (
	// sendTimeout bounds a delivery, as Stripe does by about the same time.
	sendTimeout = 30 * time.Second
	// maxShown bounds the part of an answer that is printed, in bytes.
	maxShown = 256
)

// Sign returns the Stripe-Signature of a body: one signature for each secret, at a time.
// See https://docs.stripe.com/webhooks#verify-manually.
func Sign(body []byte, at time.Time, secrets []string) string {
	parts := []string{fmt.Sprintf("t=%d", at.Unix())}
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "%d.", at.Unix())
		mac.Write(body)
		parts = append(parts, "v1="+hex.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(parts, ",")
}

// Send signs each event with all secrets, posts it to target, and writes a line with the answer to out. It returns an error if an
// answer is not 2xx. It follows no redirect, which is a failure for Stripe too.
func Send(ctx context.Context, target string, secrets []string, events []Delivery, out io.Writer) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: sendTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	failed := 0
	for _, event := range events {
		answer, ok := post(ctx, client, target, secrets, event.Body)
		if !ok {
			failed++
		}
		if _, err := fmt.Fprintf(out, "%s %s %s %s: %s\n", event.Style, event.Type, event.EventID, event.About, answer); err != nil {
			return err
		}
	}
	switch {
	case failed == 0:
		return nil
	case len(events) == 1:
		return errors.New("the event was not answered 2xx: Stripe would send it again, and disable the endpoint after some days")
	default:
		return fmt.Errorf("not answered 2xx: %d of %d events. Stripe would send them again, and disable the endpoint after some days", failed, len(events))
	}
}

// post returns the status and the beginning of the body of an answer, and whether it is 2xx.
func post(ctx context.Context, client *http.Client, target string, secrets []string, body []byte) (answer string, ok bool) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err.Error(), false
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", "verification-status-trigger (like Stripe/1.0)")
	request.Header.Set("Stripe-Signature", Sign(body, time.Now(), secrets))
	response, err := client.Do(request)
	if err != nil {
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err // its own text repeats the URL
		}
		return "no answer: " + err.Error(), false
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxShown))
	answer = response.Status
	if location := response.Header.Get("Location"); location != "" {
		answer += " to " + printable(location)
	}
	if shown := printable(string(text)); shown != "" {
		answer += " " + shown
	}
	return answer, response.StatusCode/100 == 2
}

// printable returns a text on one line, without characters that a terminal would obey.
func printable(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text))
}
