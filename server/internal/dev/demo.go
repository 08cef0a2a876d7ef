package dev

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/verification-status/server/internal/app"
)

// demo is the session that dev creates at its start.
type demo struct {
	ID  string `json:"id"`
	URL string `json:"url"`
}

// newDemo creates a session as a backend does, through Stripe's API.
func newDemo(ctx context.Context, api string) (demo, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	form := url.Values{"type": {"document"}, "client_reference_id": {reference}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, api+"/v1/identity/verification_sessions", strings.NewReader(form.Encode()))
	if err != nil {
		return demo{}, err
	}
	request.SetBasicAuth(apiKey, "")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return demo{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return demo{}, fmt.Errorf("the simulated Stripe answered %s", response.Status)
	}
	var made demo
	err = json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&made)
	return made, err
}

// guide returns what dev prints at its start: the addresses, and commands to copy.
func guide(addrs app.Addrs, stripe string, d demo) string {
	return fmt.Sprintf(`verification-status is running on this machine. Nothing is kept: Redis is embedded, Stripe is simulated.

  gRPC        %[1]s   (reflection is on)
  webhooks    http://%[2]s/webhook
  admin       http://%[3]s/metrics  /livez  /readyz
  "Stripe"    %[4]s   (key %[6]s; in a browser: its sessions, and a button for each outcome)

A session to try:       %[5]s   (client_reference_id %[7]s)
Its hosted page:        %[8]s

Try, each in a terminal of its own:

  # watch it
  grpcurl -plaintext -d '{"session_id":"%[5]s"}' %[1]s verification.v1.VerificationService/WatchStatus

  # let it fail, here or on the hosted page: processing, then requires_input with document_expired
  curl -d outcome=document_expired '%[8]s'

  # ask what happened, and whether a retry is allowed
  grpcurl -plaintext -d '{"session_id":"%[5]s","include_history":true}' %[1]s verification.v1.VerificationService/GetStatus

  # try again: the answer has a fresh url; open it, or: curl -d outcome=verified URL
  grpcurl -plaintext -d '{"session_id":"%[5]s"}' %[1]s verification.v1.VerificationService/RetryVerification

  # help a person that is locked out: show what happened, then allow one more try
  go run ./server operator show --plaintext --addr %[1]s --reference %[7]s
  go run ./server operator allow --plaintext --addr %[1]s --reference %[7]s

  # another session
  curl -u %[6]s: -d type=document -d client_reference_id=%[7]s %[4]s/v1/identity/verification_sessions

The page for a person:  go run ./client/example/bff     for the people who help:  go run ./client/example/desk

Ctrl-C stops it. What arrives is shown below.

`, addrs.GRPC, addrs.Webhook, addrs.Admin, stripe, d.ID, apiKey, reference, d.URL)
}
