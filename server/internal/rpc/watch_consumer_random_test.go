package rpc

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/verification"
)

// consuming is a caller that consumes: two instances, of which one is served, and both replicas.
type consuming struct {
	*consumerRig
	random   *rand.Rand
	request  *verificationv1.WatchStatusRequest
	filter   verification.Filter
	open     *watching       // nil: none
	tokens   []string        // of all responses that came
	handled  map[string]bool // changes that came
	inStream map[string]int32
	// acknowledged are the furthest positions of the tokens that the caller has acknowledged: one for each partition.
	acknowledged [3]uint64
}

func (c *consuming) session() verification.Session {
	return c.held[fmt.Sprint("vs_", c.random.IntN(3))]
}

// step does one thing at random.
func (c *consuming) step() {
	switch c.random.IntN(9) {
	case 0, 1:
		c.change(failedAgain(c.session()))
	case 2, 3:
		c.change(edited(c.session()))
	case 4:
		c.connect(c.random.IntN(2))
	case 5:
		c.take()
		if len(c.tokens) > 0 {
			c.acknowledge(c.random.IntN(2), c.tokens[c.random.IntN(len(c.tokens))])
		}
	case 6:
		time.Sleep(time.Duration(c.random.IntN(90)) * time.Second)
	case 7:
		link := c.links[c.random.IntN(2)]
		link.cut.Store(!link.cut.Load())
	case 8:
		if c.open != nil {
			c.take()
			c.disconnect()
		}
	}
	synctest.Wait()
}

// connect opens a stream if none is open, from what is acknowledged or from the token of the last response.
func (c *consuming) connect(replica int) bool {
	if c.open != nil {
		return true
	}
	request := c.request
	if len(c.tokens) > 0 && c.random.IntN(2) == 0 {
		request = resumed(request, c.tokens[len(c.tokens)-1])
	}
	c.inStream = map[string]int32{}
	c.open = c.consumerRig.open(replica, request)
	c.take()
	return c.open != nil
}

func (c *consuming) disconnect() {
	c.open.stop()
	c.open = nil
}

// take takes the responses that came. If the stream has ended, there is none afterwards.
func (c *consuming) take() {
	synctest.Wait()
	for c.open != nil {
		select {
		case got := <-c.open.sink.got:
			c.tokens = append(c.tokens, got.GetResumeToken())
			v := got.GetVerification()
			if v == nil {
				continue
			}
			if before := c.inStream[v.GetSessionId()]; v.GetRevision() <= before {
				c.t.Errorf("%s: revision %d came after %d", v.GetSessionId(), v.GetRevision(), before)
			}
			c.inStream[v.GetSessionId()] = v.GetRevision()
			c.handled[changeKey(v.GetSessionId(), v.GetRevision())] = true
		case err := <-c.open.ended:
			if s := status.Convert(err); s.Code().String() != "Aborted" && s.Code().String() != "Unavailable" {
				c.t.Errorf("a stream ended with %v", err)
			}
			c.open = nil
		default:
			return
		}
	}
}

// acknowledge acknowledges a token at a replica, which can be cut off.
func (c *consuming) acknowledge(replica int, token string) {
	c.t.Helper()
	request := &verificationv1.AcknowledgeChangesRequest{Consumer: mailer, ResumeToken: token}
	_, err := c.services[replica].AcknowledgeChanges(c.t.Context(), request)
	if err != nil {
		if !c.links[replica].cut.Load() {
			c.t.Fatal(err)
		}
		return
	}
	positions, err := resumetoken.DecodeConsumer(token, mailer, c.stored[mailer].Incarnation, c.Partitions())
	if err != nil {
		c.t.Fatal(err)
	}
	for partition, position := range positions {
		c.acknowledged[partition] = max(c.acknowledged[partition], position.Seq)
	}
}

func changeKey(id string, revision int32) string { return fmt.Sprint(id, " ", revision) }

// check fails the test if a change that the filter selects is acknowledged, and never came or was not acknowledged by the caller.
func (c *consuming) check(from int) {
	c.t.Helper()
	c.take()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stored[mailer] == nil {
		return
	}
	for _, entry := range c.entries[from:] {
		if entry.Position.Seq > c.stored[mailer].Positions[entry.Partition].Seq {
			continue
		}
		_, selected := c.filter.Select(c.held[entry.SessionID], entry.Revision)
		if selected && !c.handled[changeKey(entry.SessionID, entry.Revision)] {
			c.t.Fatalf("revision %d of %s is acknowledged, and never came", entry.Revision, entry.SessionID)
		}
		if selected && entry.Position.Seq > c.acknowledged[entry.Partition] {
			c.t.Fatalf("revision %d of %s is acknowledged, and not by the caller", entry.Revision, entry.SessionID)
		}
	}
}

// TestG14_NoSelectedChangeIsAcknowledgedBeforeItCame: streams that end, replicas that are cut off, old and new tokens that are
// acknowledged in any order, with the sessions in one partition or in three; and at the end every change has come.
func TestG14_NoSelectedChangeIsAcknowledgedBeforeItCame(t *testing.T) {
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			t.Logf("seed %d", seed)
			c := &consuming{consumerRig: newConsumerRig(t), random: rand.New(rand.NewPCG(seed, 1)), handled: map[string]bool{}}
			c.partitions = 1 + 2*int(seed%2)
			c.request = byConsumer(mailer)
			if seed%3 > 0 {
				c.request, c.filter.OutcomesOnly = byConsumer(mailer, outcomesOnly), true
			}
			for n := range 3 {
				c.put(life(fmt.Sprint("vs_", n), 1))
			}
			first := len(c.entries)
			if !c.connect(0) {
				t.Fatal("no stream")
			}
			c.request.GetAllSessions().MustExist = true
			for range 80 {
				c.step()
				c.check(first)
			}
			for _, link := range c.links {
				link.cut.Store(false)
			}
			for tries := 0; !c.connect(tries % 2); tries++ {
				if time.Sleep(5 * time.Second); tries == 10 {
					t.Fatal("no replica serves the consumer")
				}
			}
			c.take()
			c.acknowledge(0, c.tokens[len(c.tokens)-1])
			c.disconnect()
			c.check(first)
			if got := c.pending(mailer); got != 0 {
				t.Errorf("%d changes are pending at the end", got)
			}
		})
		if t.Failed() {
			return
		}
	}
}
