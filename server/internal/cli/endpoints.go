package cli

import (
	"context"
	"os"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/endpoints"
)

type webhookEndpointCommand struct {
	Create createEndpointCommand `cmd:"" help:"Register a webhook endpoint for the six identity.verification_session events by name, and print its signing secret once, as STRIPE_WEBHOOK_SECRET=whsec_... on the standard output. Nothing is created where an endpoint with this URL exists."`
	List   listEndpointsCommand  `cmd:"" help:"List the webhook endpoints that Stripe has in the key's mode."`
	Check  checkEndpointCommand  `cmd:"" help:"Say all that keeps an endpoint's events from coming, each with what to do: no such URL, missing types, disabled, the other mode, several endpoints with one URL. The exit code is 0 if nothing does."`
}

type createEndpointCommand struct {
	endpoints.New
	config.API
}

func (c *createEndpointCommand) Run(ctx context.Context, typed flagWarnings) error {
	logger, err := loadAPI(&c.API, typed)
	if err != nil {
		return err
	}
	return endpoints.Create(ctx, &c.API, c.New, logger, os.Stdout, os.Stderr)
}

type listEndpointsCommand struct{ config.API }

func (l *listEndpointsCommand) Run(ctx context.Context, typed flagWarnings) error {
	logger, err := loadAPI(&l.API, typed)
	if err != nil {
		return err
	}
	return endpoints.List(ctx, &l.API, logger, os.Stdout)
}

type checkEndpointCommand struct {
	URL string `name:"url" required:"" placeholder:"URL" help:"The endpoint's URL. Required."`
	config.API
}

func (c *checkEndpointCommand) Run(ctx context.Context, typed flagWarnings) error {
	logger, err := loadAPI(&c.API, typed)
	if err != nil {
		return err
	}
	return endpoints.Check(ctx, &c.API, c.URL, logger, os.Stdout)
}
