//go:build load

package load

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"example.com/verification-status/client"
	"example.com/verification-status/server/tests/rig"
)

// slotDrain is the servers' DRAIN_TIMEOUT.
const slotDrain = 10 * time.Second

// slot is the addresses of one replica. They stay, and the server behind them is replaced.
type slot struct {
	u                    *upgrade
	n                    int
	grpc, webhook, admin string // HOST:PORT
	running              *rig.Process
	all                  []slotServer
}

// slotServer is one server that ran in a slot.
type slotServer struct {
	version string
	*rig.Process
}

// newSlot takes free ports at a loopback address of its own. No connection of this machine uses one of these ports by chance
// while the slot is empty: connections begin at 127.0.0.1.
func newSlot(u *upgrade, n int) *slot {
	u.t.Helper()
	host := fmt.Sprintf("127.0.0.%d", 21+n)
	free := func() string {
		listener, err := net.Listen("tcp", host+":0")
		if err != nil {
			rig.SkipOrFail(u.t, "this machine has no "+host+": ip addr add "+host+"/8 dev lo")
		}
		defer listener.Close()
		return listener.Addr().String()
	}
	return &slot{u: u, n: n, grpc: free(), webhook: free(), admin: free()}
}

// start runs a server of a version until it is ready.
func (s *slot) start(v version) {
	s.u.t.Helper()
	env := s.u.stripe.Settings(s.u.redis.Addr, append([]string{
		"GRPC_ADDR=" + s.grpc, "WEBHOOK_ADDR=" + s.webhook, "ADMIN_ADDR=" + s.admin,
		"API_READS_PER_DAY=1000000", fmt.Sprintf("MAX_RETRIES=%d", upgradeRetries), "DRAIN_TIMEOUT=" + slotDrain.String(),
	}, v.env...)...)
	s.running = rig.AwaitServing(rig.LaunchProgram(s.u.t, v.program, env, "serve"))
	s.all = append(s.all, slotServer{v.name, s.running})
}

// stop ends the server as an update does, without preStop: clients and Stripe meet a closed port until the next one listens.
func (s *slot) stop() {
	s.u.t.Helper()
	s.running.Signal(syscall.SIGTERM)
	if code := s.running.Exit(slotDrain + 5*time.Second); code != 0 {
		s.u.wrong("the server %s in slot %d ended with %d", s.all[len(s.all)-1].version, s.n, code)
	}
	if strings.Contains(s.running.Stderr.String(), "cut off") {
		s.u.wrong("the server %s in slot %d cut calls off", s.all[len(s.all)-1].version, s.n)
	}
}

// dial returns a client that spreads its calls over all slots, until the test ends.
func (u *upgrade) dial(options ...grpc.DialOption) *client.Client {
	u.t.Helper()
	slots := manual.NewBuilderWithScheme("slots")
	var state resolver.State
	for _, s := range u.slots {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: s.grpc})
	}
	slots.InitialState(state)
	dialed, err := client.Dial("slots:///verification-status", client.WithPlaintext(),
		client.WithDialOptions(append(options, grpc.WithResolvers(slots))...))
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		u.stop()
		_ = dialed.Close()
	})
	return dialed
}

// checkLogs fails the test for each line of level error, and counts the warnings by version and text.
func (u *upgrade) checkLogs() (warnings *tallies) {
	u.t.Helper()
	warnings = &tallies{}
	for _, s := range u.slots {
		for _, server := range s.all {
			for line := range strings.Lines(server.Stderr.String()) {
				var entry struct{ Level, Msg string }
				_ = json.Unmarshal([]byte(line), &entry)
				switch entry.Level {
				case "ERROR":
					u.wrong("the server %s in slot %d logged an error: %s", server.version, s.n, line)
				case "WARN":
					warnings.add(server.version + ": " + entry.Msg)
				}
			}
		}
	}
	return warnings
}

// tallies counts things by their text. The zero value is empty. It is safe for concurrent use.
type tallies struct {
	mu sync.Mutex
	of map[string]int
}

func (c *tallies) add(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.of[text]++
}

// count returns how often texts with a prefix were added.
func (c *tallies) count(prefix string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for text, times := range c.of {
		if strings.HasPrefix(text, prefix) {
			n += times
		}
	}
	return n
}

// log writes the counts into the test's log.
func (c *tallies) log(t *testing.T, title string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, text := range slices.Sorted(maps.Keys(c.of)) {
		t.Logf("%s: %s: %d", title, text, c.of[text])
	}
}
