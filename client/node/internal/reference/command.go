package main

import (
	"context"
	"encoding/json"

	"google.golang.org/grpc/metadata"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// command is one line: the name of a method of clienttest.Server, and its arguments.
type command struct {
	Do           string          `json:"do"`
	Verification json.RawMessage `json:"verification"`
	Session      string          `json:"session"`
	Consumer     string          `json:"consumer"`
	Reason       string          `json:"reason"` // of an error, without its prefix; "": none
	On           bool            `json:"on"`
	Outputs      client.Expected `json:"outputs"`
}

// run calls the method. It returns what is wrong with the command.
func (c command) run(fake *clienttest.Server) string {
	switch c.Do {
	case "setInDoubt":
		fake.SetInDoubt(c.Session, c.On)
	case "setOutputs":
		fake.SetOutputs(c.Session, c.Outputs)
	case "fail":
		fake.Fail(c.failure())
	case "failNext":
		fake.FailNext(c.failure())
	case "cutStreams":
		fake.CutStreams(c.failure())
	case "expireTokens":
		fake.ExpireTokens()
	case "heartbeat":
		fake.Heartbeat()
	case "silence":
		fake.Silence(c.On)
	case "expireConsumer":
		fake.ExpireConsumer(c.Consumer)
	case "deleteConsumer":
		fake.DeleteConsumer(c.Consumer)
	case "holdConsumer":
		fake.HoldConsumer(c.Consumer, c.On)
	case "nameCallers":
		fake.NameCallers(caller)
	case "stop":
		fake.Stop()
	case "start":
		if err := fake.Start(); err != nil {
			return err.Error()
		}
	default:
		return "no such command: " + c.Do
	}
	return ""
}

func (c command) failure() error {
	if c.Reason == "" {
		return nil
	}
	return clienttest.Error(verificationv1.ErrorReason(verificationv1.ErrorReason_value["ERROR_REASON_"+c.Reason]))
}

// caller names a caller by a header.
func caller(ctx context.Context) string {
	if names := metadata.ValueFromIncomingContext(ctx, "x-caller"); len(names) > 0 {
		return names[0]
	}
	return ""
}
