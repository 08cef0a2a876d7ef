package remote

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"google.golang.org/grpc"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// consumersFeature is what the server must have.
const consumersFeature = "named consumers"

// ListConsumers writes a table of the named consumers of the change feed to out, a line for each, by name. The caller needs the right
// list. now is the time from which the age of the last acknowledgement is counted.
func ListConsumers(ctx context.Context, server *Server, now func() time.Time, out io.Writer) error {
	var list *verificationv1.ListConsumersResponse
	err := server.call(ctx, consumersFeature, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		list, err = verificationv1.NewFeedServiceClient(conn).ListConsumers(ctx, &verificationv1.ListConsumersRequest{})
		return err
	})
	if err != nil {
		return fmt.Errorf("the consumers cannot be listed: %w", err)
	}
	if len(list.GetConsumers()) == 0 {
		_, err = fmt.Fprintln(out, "The server has no named consumer.")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tPRINCIPAL\tACTIVE\tACKNOWLEDGED\tPENDING\tLAG\tEXPIRED")
	for _, c := range list.GetConsumers() {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", printable(c.GetName()), printable(c.GetPrincipal()), yes(c.GetActive()),
			acknowledged(c, now()), c.GetPendingChanges(), age(c.GetLag().AsDuration()), yes(c.GetExpired()))
	}
	return table.Flush()
}

// DeleteConsumer deletes a named consumer and its position, and writes to out that it did. The server says the same if there was no
// such consumer. The caller needs the right watch-all and must have created the consumer, or needs the right override too.
func DeleteConsumer(ctx context.Context, server *Server, name string, out io.Writer) error {
	err := server.call(ctx, consumersFeature, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, err := verificationv1.NewFeedServiceClient(conn).DeleteConsumer(ctx, &verificationv1.DeleteConsumerRequest{Consumer: name})
		return err
	})
	if err != nil {
		return fmt.Errorf("the consumer cannot be deleted: %w", err)
	}
	_, err = fmt.Fprintf(out, "The server has no consumer %s any more. Its position is deleted.\n", printable(name))
	return err
}

// acknowledged says how long ago a consumer acknowledged last.
func acknowledged(c *verificationv1.Consumer, now time.Time) string {
	if c.GetAcknowledgeTime() == nil {
		return "never"
	}
	return age(now.Sub(c.GetAcknowledgeTime().AsTime())) + " ago"
}

// age returns a duration in its two greatest units, such as 3d4h, 5m7s or 0s. The clocks of two machines differ, so a negative one is 0s.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	units := []struct {
		length time.Duration
		name   string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	for i, unit := range units {
		if d < unit.length {
			continue
		}
		text := strconv.FormatInt(int64(d/unit.length), 10) + unit.name
		if i+1 < len(units) {
			smaller := units[i+1]
			text += strconv.FormatInt(int64(d%unit.length/smaller.length), 10) + smaller.name
		}
		return text
	}
	return "0s"
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// printable returns a text that cannot change the terminal: principals come from certificates. An empty one is a dash.
func printable(text string) string {
	if text == "" {
		return "-"
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return strconv.Quote(text)
	}
	return text
}
