package endpoints

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"text/tabwriter"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// New is the webhook endpoint that Create registers at Stripe.
type New struct {
	URL         string `name:"url" required:"" placeholder:"URL" help:"The URL at which Stripe reaches the webhook listener: https://. A loopback address is for a simulated Stripe only. For the real Stripe and a server on your own machine, use: stripe listen --forward-to. Required."`
	Connect     bool   `name:"connect" help:"Get the events of connected accounts, instead of those of the account itself. For both, register two endpoints, the second with a URL such as https://your-host/webhook?connect=1."`
	APIVersion  string `name:"api-version" placeholder:"VERSION" help:"The API version of the events, such as 2023-10-16. It cannot be changed later. By default the version of the account. The server accepts any."`
	Description string `name:"description" placeholder:"TEXT" help:"A description of the endpoint for Stripe's Dashboard."`
	Thin        bool   `name:"thin" help:"Get thin events, by an event destination of Stripe's API v2. Each costs the server one read at Stripe; a snapshot event costs none. Do it only when no replica of an older version runs. An endpoint for snapshot events can have the same URL."`
}

const (
	maxDescription = 5000 // bytes; Stripe's limit, in characters
	// defaultName is the name of an event destination without a description. Stripe requires one.
	defaultName = "verification-status"
)

var versionPattern = regexp.MustCompile(`^20\d\d-\d\d-\d\d(\.[a-z]+)?$`)

// Create registers an endpoint at Stripe. It returns an error if an endpoint with its URL and its style exists. It writes the signing
// secret to out only, as a line for the environment of serve, and messages for people to said.
func Create(ctx context.Context, api *config.API, n New, logger *slog.Logger, out, said io.Writer) error {
	if err := n.check(api); err != nil {
		return err
	}
	clients, err := newClients(api, logger)
	if err != nil {
		return err
	}
	defer clients.Close()
	existing, note, err := Read(ctx, clients)
	if err != nil {
		return fmt.Errorf("%w; nothing was created", err)
	}
	say := func(text string) { _, _ = fmt.Fprintln(said, text) }
	if note != "" {
		say(note)
	}
	for _, e := range existing {
		if sameURL(e.URL, n.URL) && e.Thin == n.Thin {
			return fmt.Errorf("%s has this URL already (%s, %s); nothing was created\n"+
				"to check it: server webhook-endpoint check --url %s\n"+
				"its signing secret is in Stripe's Dashboard, not in the API: copy it from there into STRIPE_WEBHOOK_SECRET, or delete %[1]s there and create it again",
				e.ID, status(e.Enabled), mode(e.Livemode), quote(n.URL))
		}
	}
	if mismatch := config.PathMismatch(n.URL, api.WebhookPath); mismatch != "" {
		say("warning: " + mismatch)
	}
	made, secret, err := n.register(ctx, clients.Client)
	if err != nil {
		return notCreated(err)
	}
	if _, err := fmt.Fprintf(out, "STRIPE_WEBHOOK_SECRET=%s\n", secret.Reveal()); err != nil {
		return fmt.Errorf("%s was created, but its signing secret could not be written (%w): copy it from Stripe's Dashboard", made.ID, err)
	}
	say(fmt.Sprintf("%s was created (%s, %s). Give the line with its signing secret to serve as environment variable: Stripe's API does not show it again.",
		made.ID, status(made.Enabled), mode(made.Livemode)))
	if made.Thin {
		say(made.ID + ": " + thinCost)
	}
	return nil
}

// check returns an error that names everything that is wrong with a new endpoint.
func (n New) check(api *config.API) error {
	wrong := []error{cmp.Or(config.CheckEndpointURL(n.URL), api.CheckReachable(n.URL))}
	switch {
	case n.APIVersion != "" && n.Thin:
		wrong = append(wrong, errors.New("--api-version is for snapshot events only: thin events have no version"))
	case n.APIVersion != "" && !versionPattern.MatchString(n.APIVersion):
		wrong = append(wrong, errors.New("--api-version must be a version of Stripe's API, such as 2023-10-16 or 2026-08-26.dahlia"))
	}
	if len(n.Description) > maxDescription {
		wrong = append(wrong, fmt.Errorf("--description must have at most %d bytes", maxDescription))
	}
	return errors.Join(wrong...)
}

// register creates the endpoint: for thin events an event destination of API v2, else a webhook endpoint of API v1.
func (n New) register(ctx context.Context, client *stripeapi.Client) (stripeapi.Endpoint, verification.Secret, error) {
	if n.Thin {
		return client.CreateDestination(ctx, stripeapi.NewDestination{URL: n.URL, Name: cmp.Or(n.Description, defaultName), Connect: n.Connect})
	}
	return client.CreateEndpoint(ctx, stripeapi.NewEndpoint{URL: n.URL, Connect: n.Connect, APIVersion: n.APIVersion, Description: n.Description})
}

func notCreated(err error) error {
	var refused *verification.StripeRefusedError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("no webhook endpoint was created: %w: Stripe must be able to reach the URL from the internet, know the API version, and have fewer than 16 endpoints in this mode", err)
	case errors.Is(err, verification.ErrStripeUnavailable):
		return fmt.Errorf("Stripe gave no answer, so the webhook endpoint might exist: check with server webhook-endpoint list: %w", err)
	default:
		return fmt.Errorf("no webhook endpoint was created: %w", explain(err))
	}
}

// List writes the webhook endpoints and event destinations that Stripe has in the mode of the key to out, one line each. It writes to
// said which list could not be read.
func List(ctx context.Context, api *config.API, logger *slog.Logger, out, said io.Writer) error {
	existing, err := readAll(ctx, api, logger, said)
	if err != nil {
		return err
	}
	if len(existing) == 0 {
		_, err = fmt.Fprintln(out, "Stripe has no webhook endpoint in this mode. Register one: server webhook-endpoint create --url https://your-host/webhook")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tSTATUS\tMODE\tSTYLE\tIDENTITY EVENTS\tAPI VERSION\tURL")
	for _, e := range existing {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d of %d\t%s\t%s\n", e.ID, status(e.Enabled), mode(e.Livemode), style(e),
			len(verification.EventTypes)-len(missingEvents(e)), len(verification.EventTypes), version(e), target(e))
	}
	return table.Flush()
}

// Check writes to out whether the endpoint with this URL sends what the server needs, and every problem. It writes to said which list
// could not be read. It returns an error if there is a problem.
func Check(ctx context.Context, api *config.API, url string, logger *slog.Logger, out, said io.Writer) error {
	if err := config.CheckEndpointURL(url); err != nil {
		return err
	}
	existing, err := readAll(ctx, api, logger, said)
	if err != nil {
		return err
	}
	found := examine(existing, url, api.Live(), api.WebhookURL, api.WebhookPath, api.StripeAPIBase)
	for _, line := range append(found.problems, found.notes...) {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	switch len(found.problems) {
	case 0:
		return nil
	case 1:
		return errors.New("the webhook endpoint has 1 problem")
	default:
		return fmt.Errorf("the webhook endpoint has %d problems", len(found.problems))
	}
}

func readAll(ctx context.Context, api *config.API, logger *slog.Logger, said io.Writer) ([]stripeapi.Endpoint, error) {
	clients, err := newClients(api, logger)
	if err != nil {
		return nil, err
	}
	defer clients.Close()
	existing, note, err := Read(ctx, clients)
	if note != "" {
		_, _ = fmt.Fprintln(said, note)
	}
	return existing, err
}

// clients has a client for API v1, and one for the list of API v2 that logs nothing: that list is an extra, and the caller says why it
// is missing.
type clients struct {
	*stripeapi.Client
	quiet *stripeapi.Client
}

func newClients(api *config.API, logger *slog.Logger) (*clients, error) {
	first, err := newClient(api, logger)
	if err != nil {
		return nil, err
	}
	quiet, err := newClient(api, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return &clients{first, quiet}, nil
}

// Destinations implements Stripe.
func (c *clients) Destinations(ctx context.Context) ([]stripeapi.Endpoint, error) {
	return c.quiet.Destinations(ctx)
}

// Close closes both.
func (c *clients) Close() {
	c.Client.Close()
	c.quiet.Close()
}

func newClient(api *config.API, logger *slog.Logger) (*stripeapi.Client, error) {
	return stripeapi.New(stripeapi.Config{Key: func() verification.Secret { return verification.Secret(api.StripeAPIKey) }, Base: api.StripeAPIBase, Logger: logger})
}
