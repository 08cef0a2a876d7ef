package cli

import "fmt"

const description = `Answers "is this person verified yet, and if not, why, and may they try again?"

It receives Stripe's identity.verification_session.* webhooks, keeps the state of each session in Redis and serves it over gRPC. Start with: server ` + firstCommand

type commands struct {
	Consumers consumersCommand `cmd:"" help:"List the named consumers of the change feed: how far each one is behind, and whether a stream of it is open. It calls a running server with the rights of the caller, and needs the right list."`
	devCommands
	Healthcheck healthcheckCommand `cmd:"" help:"Check whether the server on this machine is ready, for containers: the exit code is 0 if it is."`
	Import      importCommand      `cmd:"" help:"Bring in the sessions that Stripe has from before this service, beside running servers, and print a summary. It can be stopped at any moment: the same command resumes. It takes the settings of serve."`
	Licenses    licensesCommand    `cmd:"" help:"Print the licences and notices of the modules in this program."`
	Operator    operatorCommand    `cmd:"" help:"Help a person that cannot go on alone: show the session, allow one more try, or note that the person was dealt with elsewhere. It calls a running server with the rights of the caller, whose name the history keeps."`
	Reconcile   reconcileCommand   `cmd:"" help:"Catch up once from Stripe's list of events, or read one session again, and print a summary. It takes the settings of serve. The exit code is 0 if it is complete."`
	Serve       serveCommand       `cmd:"" help:"Run the server. Each setting is a flag or an environment variable."`

	GoLive          goLiveCommand          `cmd:"" help:"Check the webhook endpoint, the API key and its permissions, the secrets, the clock and Redis before real people come, and print what only a person can check. It takes the settings of serve. The exit code is 0 if every check holds."`
	Trigger         triggerCommand         `cmd:"" help:"Send a signed event, as Stripe would, to any endpoint, and print the answer. The exit code is 0 if it is 2xx."`
	WebhookEndpoint webhookEndpointCommand `cmd:"" help:"Register the webhook endpoint at Stripe, list the endpoints, or check one. It needs the API key, but neither Redis nor a running server."`
	Token           struct {
		New newTokenCommand `cmd:"" help:"Make a bearer token for a caller, and its line for GRPC_TOKENS_FILE."`
	} `cmd:"" help:"Make bearer tokens for callers without a client certificate."`
}

// notices is what the licenses command prints: the program must be shipped with it.
type notices string

type licensesCommand struct{}

func (licensesCommand) Run(text notices) error {
	_, err := fmt.Print(text)
	return err
}
