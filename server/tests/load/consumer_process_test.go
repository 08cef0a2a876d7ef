//go:build load

package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// envIsConsumers makes the test program the consumers of TestLoadConsumers.
const envIsConsumers = "VERIFICATION_TEST_IS_CONSUMERS"

const (
	// beganLine is what the consumers write when all of them follow the feed.
	beganLine = "all consumers have begun\n"
	// acknowledgeEvery is the pause between two acknowledgements of a consumer.
	acknowledgeEvery = time.Second
)

// consumersOrder is the first line that the consumers read.
type consumersOrder struct {
	Addr      string // of the gRPC server
	Consumers int
	Report    string // the file that received is written to, as JSON
}

// received is what one consumer got, in order.
type received struct {
	Deliveries       []delivery
	Acknowledgements int
	Failed           string // why the consumer ended too early; empty if it did not
}

// delivery is one change as it came.
type delivery struct {
	Life     int // the number in the session's id
	Revision int32
	At       int64 // Unix nanoseconds
}

// runConsumers follows the feed with some consumers, each over a connection of its own, until the second line of the standard
// input says how many changes each must have got. Then it waits for these, and reports.
func runConsumers() int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadBytes('\n')
	if err != nil {
		return fail(err)
	}
	var order consumersOrder
	if err := json.Unmarshal(line, &order); err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	consumers := make([]*consumer, order.Consumers)
	var consuming sync.WaitGroup
	for n := range consumers {
		c := &consumer{name: fmt.Sprintf("load-%d", n)}
		consumers[n] = c
		if err := c.begin(ctx, order.Addr); err != nil {
			return fail(err)
		}
		defer c.conn.Close()
		consuming.Go(c.follow)
		consuming.Go(func() { c.acknowledge(ctx) })
	}
	fmt.Print(beganLine)
	expected, err := readNumber(input)
	if err != nil {
		return fail(err)
	}
	awaitReceived(consumers, expected)
	cancel()
	consuming.Wait()
	all := make([]received, len(consumers))
	for n, c := range consumers {
		if err := c.remove(); err != nil {
			return fail(err)
		}
		all[n] = c.received
	}
	report, err := json.Marshal(all)
	if err == nil {
		err = os.WriteFile(order.Report, report, 0o600)
	}
	if err != nil {
		return fail(err)
	}
	return 0
}

func readNumber(input *bufio.Reader) (int, error) {
	line, err := input.ReadString('\n')
	if err != nil && err != io.EOF {
		return 0, err
	}
	return strconv.Atoi(line[:max(0, len(line)-1)])
}

// awaitReceived waits until each consumer has got so many changes, for 20 s at most.
func awaitReceived(consumers []*consumer, expected int) {
	for over := time.Now().Add(20 * time.Second); time.Now().Before(over); time.Sleep(10 * time.Millisecond) {
		missing := false
		for _, c := range consumers {
			missing = missing || c.count.Load() < int64(expected)
		}
		if !missing {
			return
		}
	}
}

// consumer is a named reader of the feed.
type consumer struct {
	name   string
	conn   *grpc.ClientConn
	stream grpc.ServerStreamingClient[verificationv1.WatchStatusResponse]
	token  atomic.Pointer[string] // of the last response
	count  atomic.Int64           // of the changes so far
	received
}

// begin opens the stream, and returns after its first response.
func (c *consumer) begin(ctx context.Context, addr string) (err error) {
	c.conn, err = grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	c.stream, err = verificationv1.NewVerificationServiceClient(c.conn).WatchStatus(ctx, &verificationv1.WatchStatusRequest{
		Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{Consumer: c.name}},
	})
	if err != nil {
		return err
	}
	first, err := c.stream.Recv()
	if err == nil && (first.GetConsumer() != c.name || first.GetVerification() != nil) {
		err = fmt.Errorf("the first response is %v; want the consumer %s and no change", first, c.name)
	}
	return err
}

// follow notes the changes until the stream ends.
func (c *consumer) follow() {
	for {
		response, err := c.stream.Recv()
		at := time.Now().UnixNano()
		if err != nil {
			if c.stream.Context().Err() == nil {
				c.Failed = err.Error()
			}
			return
		}
		token := response.GetResumeToken()
		c.token.Store(&token)
		if v := response.GetVerification(); v != nil {
			life, err := strconv.Atoi(v.GetSessionId()[len(v.GetSessionId())-8:])
			if err != nil {
				c.Failed = err.Error()
				return
			}
			c.Deliveries = append(c.Deliveries, delivery{life, v.GetRevision(), at})
			c.count.Add(1)
		}
	}
}

// remove deletes the consumer: the next phase begins with new ones.
func (c *consumer) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := verificationv1.NewFeedServiceClient(c.conn).DeleteConsumer(ctx, &verificationv1.DeleteConsumerRequest{Consumer: c.name})
	return err
}

// acknowledge acknowledges what came, until the context ends.
func (c *consumer) acknowledge(ctx context.Context) {
	feed := verificationv1.NewFeedServiceClient(c.conn)
	pause := time.NewTicker(acknowledgeEvery)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		token := c.token.Swap(nil)
		if token == nil {
			continue
		}
		_, err := feed.AcknowledgeChanges(ctx, &verificationv1.AcknowledgeChangesRequest{Consumer: c.name, ResumeToken: *token})
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "acknowledge:", err)
			os.Exit(1)
		}
		c.Acknowledgements++
	}
}
