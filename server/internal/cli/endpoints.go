package cli

import (
	"context"
	"os"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/endpoints"
)

type webhookEndpointCommand struct {
	Create createEndpointCommand `cmd:"" help:"Register a webhook endpoint for the six identity.verification_session events by name, and print its signing secret once, as STRIPE_WEBHOOK_SECRET=whsec_... on standard output. Nothing is created if an endpoint with this URL and style exists."`
	List   listEndpointsCommand  `cmd:"" help:"List the webhook endpoints and event destinations that Stripe has in the mode of the key."`
	Check  checkEndpointCommand  `cmd:"" help:"List every problem of a webhook endpoint and its fix: wrong URL, missing types, disabled, wrong mode, duplicate URL. It also says what thin events cost. The exit code is 0 if there is no problem."`
}

type createEndpointCommand struct {
	New endpoints.New `embed:""`
	API config.API    `embed:""`
}

func (c *createEndpointCommand) Run(ctx context.Context, typed flagWarnings) error {
	logger, err := loadAPI(&c.API, typed)
	if err != nil {
		return err
	}
	return endpoints.Create(ctx, &c.API, c.New, logger, os.Stdout, os.Stderr)
}

type listEndpointsCommand struct {
	API config.API `embed:""`
}

func (l *listEndpointsCommand) Run(ctx context.Context, typed flagWarnings) error {
	logger, err := loadAPI(&l.API, typed)
	if err != nil {
		return err
	}
	return endpoints.List(ctx, &l.API, logger, os.Stdout, os.Stderr)
}

type checkEndpointCommand struct {
	URL string     `name:"url" required:"" placeholder:"URL" help:"The URL of the endpoint. Required."`
	API config.API `embed:""`
}

func (c *checkEndpointCommand) Run(ctx context.Context, typed flagWarnings) error {
	logger, err := loadAPI(&c.API, typed)
	if err != nil {
		return err
	}
	return endpoints.Check(ctx, &c.API, c.URL, logger, os.Stdout, os.Stderr)
}
