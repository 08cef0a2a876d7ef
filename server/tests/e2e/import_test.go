package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/tests/rig"
)

// TestG1_G2_AnImportThatIsKilledBesideWebhooks: a Stripe with a year of sessions of two accounts, a server that gets webhooks, and
// an import that is killed three times and resumed. In the end each record is compared with the session at Stripe.
//
// IMPORT_SESSIONS is another number of sessions than 1,000. With 20,000 or more, the import keeps its own rate of reads, and the
// resumed imports wait until the lease of the killed one ends: see .ci/import.
func TestG1_G2_AnImportThatIsKilledBesideWebhooks(t *testing.T) {
	t.Parallel()
	sessions, long := 1000, false
	if text := os.Getenv("IMPORT_SESSIONS"); text != "" {
		number, err := strconv.Atoi(text)
		if err != nil || number < 1000 {
			t.Fatalf("IMPORT_SESSIONS is %q, want a number of at least 1000", text)
		}
		sessions, long = number, number >= 20_000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := startPast(t, seed, sessions)
	redis := redistest.Start(t)
	env := rig.Settings(redis.Addr, "STRIPE_API_KEY="+rig.APIKey, "STRIPE_API_BASE="+s.url, "API_READS_PER_DAY=1000000", "STRIPE_ACCOUNTS=acct_past")
	if !long {
		env = append(env, rig.EnvStripeRate+"=1000")
	}
	server := rig.Serve(t, env)
	if err := s.SetEndpoints(stripesim.Endpoint{URL: server.Webhook, Secrets: []string{rig.WebhookSecret}}); err != nil {
		t.Fatal(err)
	}
	changed := s.change(t, seed)

	began := time.Now()
	var last *rig.Process
	for n := range 4 {
		p := rig.Launch(t, env, "import")
		if n == 3 {
			last = p
			break
		}
		// In the middle of what the pages of this request bring.
		s.killAfter(sessions/100*(n+1)/5+5*n, p)
		awaitKilled(t, p)
		if !long {
			redis.MustAsk("DEL", "vs:lease:import") // as if a minute had passed
		}
	}
	if code := last.Exit(20 * time.Minute); code != 0 {
		t.Fatalf("exit code %d:\n%s%s", code, last.Stdout.String(), last.Stderr.String())
	}
	took, reads := time.Since(began), s.pages()
	t.Logf("%d sessions, killed 3 times, %d pages read in all, %v in all, %d changes by webhook meanwhile; the last run:\n%s",
		sessions, reads, took.Round(time.Millisecond), changed(), last.Stdout.String())
	if !strings.HasPrefix(last.Stdout.String(), "import complete") || !strings.Contains(last.Stderr.String(), "import: ") {
		t.Errorf("standard output %q, standard error %q", last.Stdout.String(), last.Stderr.String())
	}
	// A kill repeats a window at most, and each account can cost a search for its first session.
	if most := sessions/100*5/4 + 2*40 + 3*40; reads > most {
		t.Errorf("%d pages were read, want at most %d", reads, most)
	}
	if err := s.Settle(rig.Within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	s.checkEach(t, redis.Addr)

	again := rig.Launch(t, env, "import")
	if code := again.Exit(20 * time.Minute); code != 0 || !regexp.MustCompile(`sessions: \d+; 0 new`).MatchString(again.Stdout.String()) {
		t.Errorf("a second import: exit code %d:\n%s", code, again.Stdout.String())
	}
}

// pastStripe is a simulated Stripe with sessions of the past, by this machine's clock.
type pastStripe struct {
	*stripesim.Sim
	url string

	mu     sync.Mutex
	listed int // pages of sessions
	kill   int // the page after which victim is killed; 0: none
	victim *rig.Process
}

func startPast(t *testing.T, seed uint64, sessions int) *pastStripe {
	t.Helper()
	s := &pastStripe{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.url = "http://" + server.Listener.Addr().String()
	sim, err := stripesim.New(stripesim.Config{APIKeys: []string{rig.APIKey}, BaseURL: s.url, Seed: seed, RedactionDelay: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s.Sim = sim
	to := time.Now().Add(-time.Hour)
	for account, count := range map[string]int{"": sessions * 9 / 10, "acct_past": sessions / 10} {
		if err := sim.CreateHistory(stripesim.History{Account: account, Sessions: count, From: to.AddDate(-1, 0, 0), To: to}); err != nil {
			t.Fatal(err)
		}
	}
	server.Start()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		_ = sim.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		await.One(t, ran)
		server.Close()
	})
	return s
}

// serve counts the pages of sessions, and kills the import soon after the one that a test chose.
func (s *pastStripe) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.Path == "/v1/identity/verification_sessions" {
		s.mu.Lock()
		if s.listed++; s.kill > 0 && s.listed >= s.kill {
			victim := s.victim
			s.kill = 0
			time.AfterFunc(rand.N(100*time.Millisecond), func() { _ = victim.Cmd.Process.Kill() })
		}
		s.mu.Unlock()
	}
	s.Handler().ServeHTTP(w, r)
}

func (s *pastStripe) killAfter(page int, victim *rig.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill, s.victim = max(1, page), victim
}

func (s *pastStripe) pages() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listed
}

// change makes people act until the test ends or changed is called, which returns how many changes there were. Half of the sessions
// are submitted, canceled or redacted, each of them once, and new ones are created. The other half is left to the import, however
// slow it is.
func (s *pastStripe) change(t *testing.T, seed uint64) (changed func() int) {
	t.Helper()
	ids := []string{}
	for _, session := range s.Sessions() {
		ids = append(ids, session.ID)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	ids = ids[:len(ids)/2]
	count := 0
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for _, id := range ids {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			var err error
			switch rng.IntN(6) {
			case 0:
				var made stripesim.Session
				if made, err = s.Create(stripesim.NewSession{ClientReferenceID: fmt.Sprintf("new-%d", count)}); err == nil && rng.IntN(2) == 0 {
					err = s.Submit(made.ID, "document_expired")
				}
			case 1:
				err = s.Cancel(id)
			case 2:
				err = s.Redact(id)
			case 3:
				err = s.Submit(id, "selfie_face_mismatch")
			default:
				err = s.Submit(id, stripesim.OutcomeVerified)
			}
			if err == nil { // else the session is in another state
				count++
			}
		}
	}()
	once := sync.OnceFunc(func() {
		close(stop)
		await.One(t, stopped)
	})
	t.Cleanup(once)
	return func() int { once(); return count }
}

// checkEach compares each record with the session at Stripe, until all are equal.
func (s *pastStripe) checkEach(t *testing.T, redis string) {
	t.Helper()
	kept, err := redisstore.Open(redisstore.Options{Addrs: []string{redis}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kept.Close() }()
	all, imported := s.Sessions(), 0
	deadline := time.Now().Add(rig.Soon)
	for _, want := range all {
		var got verification.Session
		what := fmt.Sprintf("the record of %s %s equals the session at Stripe", want.Account, want.ID)
		// A webhook, or the read of an ambiguous order, can be on its way.
		rig.AwaitWithin(t, time.Until(deadline), what, func() bool {
			if got, err = kept.Get(t.Context(), want.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			wrong := differs(got, want)
			if wrong != "" && time.Now().After(deadline) {
				t.Fatalf("%s %s: %s\nrecord %+v\nStripe %+v", want.Account, want.ID, wrong, got, want)
			}
			return wrong == ""
		})
		if len(got.History) > 0 && got.History[0].Source == verification.SourceImport {
			imported++
		}
	}
	t.Logf("%d records equal Stripe's sessions; %d of them began by the import", len(all), imported)
	if imported < len(all)/2 {
		t.Errorf("%d of %d records began by the import, want at least half", imported, len(all))
	}
}

// differs returns what is wrong with a record, or "".
func differs(got verification.Session, want stripesim.Session) string {
	redaction := map[string]verification.Redaction{"": verification.RedactionNone, "processing": verification.RedactionProcessing, "redacted": verification.RedactionRedacted}[want.Redaction]
	code, report, reference := want.LastErrorCode, want.LastVerificationReport, want.ClientReferenceID
	if redaction > verification.RedactionNone {
		code, report, reference = "", "", ""
	}
	failed := int32(0)
	if want.Status == verification.StatusRequiresInput && want.LastErrorCode != "" && want.LastErrorCode != verification.CodeAbandoned {
		failed = 1
	}
	entries, seen := 0, map[string]bool{}
	for i, entry := range got.History {
		if entry.Source == verification.SourceImport {
			entries += 1 + i
		}
		if entry.EventID != "" && seen[entry.EventID] {
			return "event " + entry.EventID + " has two entries"
		}
		seen[entry.EventID] = true
	}
	type seenState struct {
		Account, Status, Code, Report, Reference, Type string
		Created                                        int64
		Livemode, Unresolved                           bool
		Redaction                                      verification.Redaction
	}
	have := seenState{got.Account, got.Status, got.Error.Code, got.Report, got.Reference, got.Type, got.Created, got.Livemode, got.Unresolved, got.Redaction}
	should := seenState{want.Account, want.Status, code, report, reference, want.Type, want.Created, want.Livemode, false, redaction}
	switch {
	case have != should:
		return fmt.Sprintf("it is %+v, want %+v", have, should)
	case got.FailedAttempts < failed || int(got.FailedAttempts) > want.Submissions || int(got.FailedAttempts) != len(got.Failures):
		return fmt.Sprintf("%d failures are counted and %d known, want %d to %d", got.FailedAttempts, len(got.Failures), failed, want.Submissions)
	case entries > 1:
		return "an entry of the import is not the first one"
	}
	return ""
}

// awaitKilled waits until a process was killed. It must not end by itself before.
func awaitKilled(t *testing.T, p *rig.Process) {
	t.Helper()
	p.Exit(10 * time.Minute)
	p.AwaitKilled()
}
