// Command server is verification-status: it keeps the state of Stripe Identity verification sessions
// from Stripe's webhooks, and serves it over gRPC.
package main

import (
	"os"

	"example.com/verification-status/server/internal/app"
	"example.com/verification-status/server/internal/cli"
)

func main() { os.Exit(cli.Run(os.Args[1:], notices, app.Hooks{})) }
