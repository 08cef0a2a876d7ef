package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// walks are the walks of TestWalkThrough.
var walks = map[string]func(*testing.T){
	"RedisDown": walkRedisDown, "RedisFull": walkRedisFull, "Eviction": walkEviction, "WrongSecret": walkWrongSecret,
	"SpentShare": walkSpentShare, "Busy": walkBusy, "SpentBudget": walkSpentBudget,
}

// TestWalkThrough makes faults and follows the runbook until they are over. All walks run side by side, also on a machine with two
// processors: most of the time each of them waits.
func TestWalkThrough(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute; without -short: go test -count=1 ./server/deploy")
	}
	shippedOnce(t)
	var running sync.WaitGroup
	var ran atomic.Int32
	for name, walk := range walks {
		running.Go(func() {
			t.Run(name, func(t *testing.T) {
				walk(t)
				ran.Add(1)
			})
		})
	}
	running.Wait()
	if int(ran.Load()) == len(walks) { // else some were not chosen, skipped, or failed
		everythingFollowed(t)
	}
}

// walked is the shipped program, built once for all walks.
var walked struct {
	once      sync.Once
	dir, file string
}

func shippedOnce(t *testing.T) string {
	t.Helper()
	walked.once.Do(func() {
		dir, err := os.MkdirTemp("", "walks")
		if err != nil {
			t.Fatal(err)
		}
		walked.dir = dir
		shipped(t, filepath.Join(dir, "server"))
		walked.file = filepath.Join(dir, "server")
	})
	if walked.file == "" {
		t.Fatal("another walk could not build the program")
	}
	return walked.file
}

func removeWalked() { _ = os.RemoveAll(walked.dir) }

// secondsForMinutes is alerts.yml with seconds in place of minutes, in "for" and in the ranges of the expressions: what takes ten
// minutes in production takes ten seconds here. Prometheus scrapes every second in place of every 15.
func secondsForMinutes(t *testing.T) string {
	t.Helper()
	groups := readGroups(t, "alerts.yml")
	shorter := func(text string) string {
		length, err := strconv.Atoi(text[:len(text)-1])
		if err != nil {
			t.Fatalf("%q is no duration of a rule", text)
		}
		unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[text[len(text)-1:]]
		return fmt.Sprintf("%dms", (time.Duration(length) * unit / 60).Milliseconds())
	}
	for i, r := range groups.Groups[0].Rules {
		if r.For != "" {
			groups.Groups[0].Rules[i].For = shorter(r.For)
		}
		groups.Groups[0].Rules[i].Expr = regexp.MustCompile(`\[[0-9]+[smhd]\]`).ReplaceAllStringFunc(r.Expr, func(window string) string {
			return "[" + shorter(window[1:len(window)-1]) + "]"
		})
	}
	file := filepath.Join(t.TempDir(), "alerts.yml")
	writeYAML(t, file, groups)
	return file
}

// walkThrough starts the walk of an entry. People have been verified, and nothing is wrong.
func walkThrough(t *testing.T, entry string, settings ...string) *walk {
	t.Helper()
	w := newWalk(t, entry, secondsForMinutes(t), settings...)
	w.awaitPanel("Webhooks not kept", func(v float64) bool { return v == 0 })
	await(t, "twenty people", func() bool { return len(w.stripe.Sessions()) >= 20 })
	w.awaitAlert(entry, "inactive")
	t.Cleanup(func() { t.Logf("%s:\n%s", entry, w.lines.String()) })
	return w
}

// fault makes the fault by a command in Redis. It is no part of what a person does.
func (w *walk) fault(args ...string) {
	w.t.Helper()
	w.redis.MustAsk(args...)
	w.record("the fault: %s", strings.Join(args, " "))
}

func (w *walk) usedMemory() int {
	w.t.Helper()
	used, err := strconv.Atoi(w.redis.Info("used_memory"))
	if err != nil {
		w.t.Fatal(err)
	}
	return used
}

// get calls GetStatus for a session and returns the code.
func (w *walk) get(client verificationv1.VerificationServiceClient, id string) codes.Code {
	_, err := client.GetStatus(w.t.Context(), &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}})
	return status.Code(err)
}

// retry calls RetryVerification for a session and returns the code.
func (w *walk) retry(client verificationv1.VerificationServiceClient, id string) codes.Code {
	_, err := client.RetryVerification(w.t.Context(), &verificationv1.RetryVerificationRequest{SessionId: id})
	return status.Code(err)
}
