package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/trigger"
)

// triggerCommand sends events as Stripe would.
type triggerCommand struct {
	Type       string `arg:"" placeholder:"TYPE" help:"The type of the event: created, processing, requires_input, verified, canceled, redacted, ping, deauthorized, or one of these in full, or one of other products, such as invoice.paid. A type that begins with v1. or v2. is thin."`
	URL        string `name:"url" required:"" placeholder:"URL" help:"The URL to send to: any endpoint, http:// or https://. Required."`
	Style      string `name:"style" default:"snapshot" placeholder:"STYLE" help:"The style of the event: snapshot, thin, or both, as for two endpoints with one URL."`
	Secret     string `name:"secret" env:"STRIPE_WEBHOOK_SECRET" secret:"true" placeholder:"SECRET" help:"The signing secret of the endpoint. Of several, separated by commas, each makes a signature. Required."`
	SecretFile string `name:"secret-file" env:"STRIPE_WEBHOOK_SECRET_FILE" placeholder:"PATH" help:"A file with the signing secret."`
	Session    string `name:"session" placeholder:"ID" help:"The session (vs_...). By default a new id. For a thin event, the server reads the session from Stripe: name one that exists there."`
	Event      string `name:"event" placeholder:"ID" help:"The id of the event (evt_...). By default a new one. Use an id again to send the same event twice."`
	Snapshot   string `name:"snapshot-event" placeholder:"ID" help:"The snapshot event that a thin event names. By default none. With both, it is the other one."`
	Account    string `name:"account" placeholder:"ID" help:"The connected account (acct_...) that the event names. By default none."`
	Context    string `name:"context" placeholder:"PATH" help:"The context of the event, for an account of an organization. By default none."`
	Reference  string `name:"reference" placeholder:"TEXT" help:"The client_reference_id of the session. By default none."`
	Code       string `name:"code" placeholder:"CODE" help:"The error code of requires_input. By default document_expired."`
	Live       bool   `name:"live" help:"Send events of live mode. By default of test mode."`
}

// Run returns nil if each event was answered 2xx.
func (c *triggerCommand) Run(ctx context.Context, typed flagWarnings) error {
	typed.print()
	secrets, err := c.secrets()
	events, wrong := trigger.Make(trigger.Event{
		Type: c.Type, Style: c.Style, ID: c.Event, SnapshotID: c.Snapshot, Session: c.Session, Account: c.Account, Context: c.Context,
		Reference: c.Reference, Code: c.Code, Live: c.Live,
	}, time.Now())
	if err := errors.Join(config.CheckAnyURL(c.URL), err, wrong); err != nil {
		return err
	}
	return trigger.Send(ctx, c.URL, secrets, events, os.Stdout)
}

// secrets returns the signing secrets. It takes any text: other services' endpoints can have secrets of another form.
func (c *triggerCommand) secrets() ([]string, error) {
	text := c.Secret
	if c.SecretFile != "" {
		if text != "" {
			return nil, errors.New("STRIPE_WEBHOOK_SECRET_FILE: the value itself is set too: remove one of the two")
		}
		var err error
		if text, err = config.ReadFile(c.SecretFile); err != nil {
			return nil, fmt.Errorf("STRIPE_WEBHOOK_SECRET_FILE: %w", err)
		}
	}
	var secrets []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			return nil, errors.New("STRIPE_WEBHOOK_SECRET is not set, or has an empty secret: give the endpoint's signing secret (whsec_...)")
		}
		secrets = append(secrets, part)
	}
	return secrets, nil
}
