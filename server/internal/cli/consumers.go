package cli

import (
	"context"
	"os"
	"time"

	"example.com/verification-status/server/internal/remote"
)

// consumersCommand lists or deletes the named consumers of a running server.
type consumersCommand struct {
	Server remote.Server `embed:""`
	Delete string        `placeholder:"NAME" help:"Delete this consumer and its position, without a question. It needs the right watch-all, and is for the caller that created the consumer; with the right override for any caller."`
}

func (c *consumersCommand) Run(ctx context.Context, typed flagWarnings) error {
	typed.print()
	if c.Delete != "" {
		return remote.DeleteConsumer(ctx, &c.Server, c.Delete, os.Stdout)
	}
	return remote.ListConsumers(ctx, &c.Server, time.Now, os.Stdout)
}
