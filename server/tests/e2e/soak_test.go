package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

var (
	soakFor      = flag.Duration("node.soak", 0, "how long TestNodeSoak lasts, with 1,000 watches and 100,000 updates; 0: a few seconds, with fewer")
	soakSessions = 60
	soakRounds   = 16
)

// soaking is a program with the npm package that watches sessions.
type soaking struct {
	t       *testing.T
	program *rig.Process
	answers int
}

// soakReport is what the program says.
type soakReport struct {
	Updates, All, Breaks int
	Reasons              map[string]int // of the breaks
	Wrong                []string
	Heap, RSS            int64 // in bytes; see collect
}

// ask sends a line to the program, and returns its answer.
func (s *soaking) ask(line string) (report soakReport) {
	s.t.Helper()
	fmt.Fprintln(s.program.Stdin, line)
	var answer string
	s.program.Await("an answer to "+line, func() bool {
		lines := strings.Split(s.program.Stdout.String(), "\n")
		if len(lines) < s.answers+2 {
			return false
		}
		answer = lines[s.answers]
		return true
	})
	s.answers++
	if err := json.Unmarshal([]byte(answer), &report); err != nil {
		s.t.Fatalf("%s: %v", answer, err)
	}
	if len(report.Wrong) > 0 {
		s.t.Fatalf("the program saw: %s", strings.Join(report.Wrong, "\n"))
	}
	return report
}

// await waits until the program has counted so many.
func (s *soaking) await(what string, count func(soakReport) int, want int) {
	s.t.Helper()
	var report soakReport
	s.program.AwaitWithin(4*rig.Soon, fmt.Sprintf("%d %s", want, what), func() bool {
		report = s.ask("report")
		return count(report) >= want
	})
	if got := count(report); got != want {
		s.t.Fatalf("%d %s; want %d", got, what, want)
	}
}

// TestNodeSoak: a program with the npm package watches sessions through nginx and at two servers, while these are drained and killed. No
// watch has a hole or a repeat, a reader that stops is not buffered, and the program's memory stays the same.
func TestNodeSoak(t *testing.T) {
	t.Parallel() // it mostly waits
	if *soakFor > 0 {
		soakSessions, soakRounds = 1000, 101
	}
	redis := redistest.Start(t)
	env := rig.Settings(redis.Addr, "CALLER_SHARE_PERCENT=100")
	servers := []*rig.Process{rig.Serve(t, env), rig.Serve(t, env)}
	addresses := []string{servers[0].GRPC, servers[1].GRPC}
	nginx := startNginxBefore(t, addresses)
	lives := make([][]rig.Event, soakSessions)
	for n := range lives {
		lives[n] = rig.Tries(fmt.Sprintf("vs_Soak%d", n), soakRounds)
	}
	sender := rig.NewHTTPClient(t)
	deliverRound(t, sender, servers[0].Webhook, lives, 0)
	s := startSoaking(t, nginx, addresses)
	updates := func(r soakReport) int { return r.Updates }
	s.await("updates", updates, soakSessions)
	pace := *soakFor / time.Duration(soakRounds)
	began, early, stops := time.Now(), soakReport{}, 0
	for round := 1; round < soakRounds; round++ {
		deliverRound(t, sender, servers[round%2].Webhook, lives, round)
		if round%4 == 0 { // its watches are open, and its changes might not be sent yet
			stopped := (round / 4) % 2
			signal := []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[(round/8)%2]
			servers[stopped].Signal(signal)
			servers[stopped].Exit(2 * rig.Soon)
			servers[stopped] = rig.Serve(t, append(env, "GRPC_ADDR="+addresses[stopped]))
			stops++
		}
		s.await("updates", updates, (round+1)*soakSessions)
		if round == soakRounds/8 {
			early = s.ask("collect")
		}
		if *soakFor > 0 && round%10 == 0 {
			report := s.ask("collect")
			t.Logf("%v: %d updates, %d breaks, heap %.1f MB, resident %.1f MB", time.Since(began).Round(time.Second), report.Updates, report.Breaks,
				float64(report.Heap)/1e6, float64(report.RSS)/1e6)
		}
		time.Sleep(time.Until(began.Add(time.Duration(round) * pace)))
	}
	last := s.ask("collect")
	if limit := early.Heap + 6<<20; last.Heap > limit {
		t.Errorf("%d bytes are in use after %d updates; want at most %d, because %d were after %d", last.Heap, last.Updates, limit, early.Heap, early.Updates)
	}
	if last.Breaks == 0 {
		t.Error("no stream was lost: the test has shown nothing")
	}
	if strings.Contains(s.program.Stderr.String(), "excess pings") {
		t.Errorf("a server or proxy complained of pings: %s", rig.Tail(s.program.Stderr.String()))
	}
	s.ask("read")
	s.await("changes read late", func(r soakReport) int { return r.All }, (soakRounds-1)*soakSessions)
	t.Logf("%d updates of %d watches, %d stops of a server, %d streams lost, heap %.1f MB after %d updates and %.1f MB at the end", last.Updates, soakSessions, stops,
		last.Breaks, float64(early.Heap)/1e6, early.Updates, float64(last.Heap)/1e6)
}

// deliverRound delivers one event of each life.
func deliverRound(t *testing.T, sender *http.Client, webhook string, lives [][]rig.Event, round int) {
	t.Helper()
	jobs := make(chan rig.Event)
	var posting sync.WaitGroup
	for range 16 {
		posting.Go(func() {
			for e := range jobs {
				response, text, err := rig.Post(sender, webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
				if err != nil || response.StatusCode != http.StatusOK {
					t.Errorf("event %s: %v %q %v", e.ID, response, text, err)
				}
			}
		})
	}
	for _, life := range lives {
		jobs <- life[round]
	}
	close(jobs)
	posting.Wait()
}

func startSoaking(t *testing.T, nginx string, servers []string) *soaking {
	t.Helper()
	program, err := os.ReadFile(filepath.Join("testdata", "soak.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "--expose-gc", "--input-type=module", "--eval", string(program))
	cmd.Dir = rig.BuildNodeClient(t)
	cmd.Env = append(os.Environ(), "NGINX="+nginx, "SERVERS="+strings.Join(servers, ","), fmt.Sprint("SESSIONS=", soakSessions))
	return &soaking{t: t, program: rig.Begin(t, cmd)}
}
