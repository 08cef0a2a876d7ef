//go:build load

package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// envIsMemoryClient makes the test program a client of TestLoadMemoryLimit.
const envIsMemoryClient = "VERIFICATION_TEST_IS_MEMORY_CLIENT"

// readyLine is what a client writes when it holds what it was told to hold.
const readyLine = "ready\n"

// memoryOrder is the first line that a client reads. The end of its input ends it.
type memoryOrder struct {
	Do            string // streams, bodies or halves
	GRPC, Webhook string // HOST:PORT
	CA            string // a file with the server's certificate
	Token         string
	Connections   int
	Count         int      // streams or calls on all connections
	Sessions      []string // to ask for and to watch
	Frame         int      // bytes in a frame of a call that never ends
}

// memoryClient is the process of one kind of client.
type memoryClient struct {
	memoryOrder
	ctx    context.Context
	tls    *tls.Config
	held   atomic.Int64
	once   sync.Once
	counts tallies
}

// runMemoryClient does what the order says until the input ends, and writes its counts as JSON.
func runMemoryClient() int {
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadBytes('\n')
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &memoryClient{ctx: ctx}
	if err == nil {
		err = json.Unmarshal(line, &c.memoryOrder)
	}
	var pem []byte
	if err == nil {
		pem, err = os.ReadFile(c.CA)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem)
	c.tls = &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	go func() {
		_, _ = io.Copy(io.Discard, input)
		cancel()
	}()
	do, known := map[string]func(n int){"streams": c.streams, "bodies": c.bodies, "halves": c.halves}[c.Do]
	if !known {
		fmt.Fprintf(os.Stderr, "%q is no kind of client\n", c.Do)
		return 1
	}
	var working sync.WaitGroup
	for n := range c.Connections {
		working.Go(func() { do(n) })
	}
	working.Wait()
	text, err := json.Marshal(c.counts.of)
	fmt.Println(string(text))
	if err != nil {
		return 1
	}
	return 0
}

// holds notes one more thing that is held. The client is ready when it holds all.
func (c *memoryClient) holds(all int) {
	if c.held.Add(1) >= int64(all) {
		c.once.Do(func() { fmt.Print(readyLine) })
	}
}

// streams asks for the status of sessions, and then watches them, on the n-th connection.
func (c *memoryClient) streams(n int) {
	conn, err := grpc.NewClient("passthrough:///"+c.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(c.tls)), grpc.WithPerRPCCredentials(rig.Bearer(c.Token)))
	if err != nil {
		c.counts.add(err.Error())
		return
	}
	defer conn.Close()
	service := verificationv1.NewVerificationServiceClient(conn)
	var watching sync.WaitGroup
	defer watching.Wait()
	for i := n; i < len(c.Sessions); i += c.Connections {
		ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
		_, err := service.GetStatus(ctx, &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: c.Sessions[i]}})
		cancel()
		if err != nil {
			c.fails("GetStatus", err)
			return
		}
	}
	for i := n; i < len(c.Sessions); i += c.Connections {
		stream, err := service.WatchStatus(c.ctx, rig.WatchSessionRequest(c.Sessions[i], ""))
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			c.fails("WatchStatus", err)
			return
		}
		c.counts.add("streams opened")
		c.holds(c.Count)
		watching.Go(func() {
			for {
				if _, err := stream.Recv(); err != nil {
					c.fails("a stream", err)
					return
				}
				c.counts.add("responses")
			}
		})
	}
}

// fails counts an error that is not the end of this client.
func (c *memoryClient) fails(what string, err error) {
	if c.ctx.Err() == nil {
		c.counts.add(what + " failed: " + status.Code(err).String() + " " + status.Convert(err).Message())
	}
}

// countsOf reads the counts that a client wrote at its end.
func countsOf(p *rig.Process) (counts map[string]int) {
	p.T.Helper()
	lines := strings.Split(strings.TrimSpace(p.Stdout.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &counts); err != nil {
		p.T.Errorf("a client wrote %q and %q", p.Stdout.String(), rig.Tail(p.Stderr.String()))
	}
	return counts
}

// inOrder returns counts as a text.
func inOrder(counts map[string]int) string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s: %d", what, counts[what]))
	}
	return strings.Join(parts, "; ")
}
