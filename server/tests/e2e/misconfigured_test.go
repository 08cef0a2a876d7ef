package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/address"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// wrongRedis is a Redis of one server's own, which goes wrong and is put right.
type wrongRedis struct {
	*redistest.Server
	url string // the file that holds REDIS_URL
}

// setPassword writes the URL with a password as a mounted secret is written.
func (r *wrongRedis) setPassword(t *testing.T, password string) {
	t.Helper()
	if err := os.WriteFile(r.url+".new", []byte("redis://vs:"+password+"@"+r.Addr), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.url+".new", r.url); err != nil {
		t.Fatal(err)
	}
}

// cut ends the connections of the server under test.
func (r *wrongRedis) cut() { r.MustAsk("CLIENT", "KILL", "USER", "vs") }

// redisFault is one way in which Redis goes wrong.
type redisFault struct {
	name   string
	begin  func(t *testing.T, r *wrongRedis)
	end    func(t *testing.T, r *wrongRedis)
	reason string // of the metric and the error line; empty: Redis is unavailable
}

var redisFaults = []redisFault{
	{"kill -9 of Redis",
		func(_ *testing.T, r *wrongRedis) { r.Stop() },
		func(_ *testing.T, r *wrongRedis) {
			r.Start()
			addUser(r.Server)
		}, ""},
	{"another password at Redis, the file follows",
		func(_ *testing.T, r *wrongRedis) {
			r.MustAsk("ACL", "SETUSER", "vs", "resetpass", ">two")
			r.cut()
		},
		func(t *testing.T, r *wrongRedis) { r.setPassword(t, "two") }, "password"},
	{"the user is off",
		func(_ *testing.T, r *wrongRedis) {
			r.MustAsk("ACL", "SETUSER", "vs", "off")
			r.cut()
		},
		func(_ *testing.T, r *wrongRedis) { r.MustAsk("ACL", "SETUSER", "vs", "on") }, "password"},
	{"a permission is taken (ZADD)",
		func(_ *testing.T, r *wrongRedis) { r.MustAsk("ACL", "SETUSER", "vs", "-zadd") },
		func(_ *testing.T, r *wrongRedis) { r.MustAsk("ACL", "SETUSER", "vs", "+zadd") }, "permission"},
	{"maxmemory-policy is allkeys-lru",
		func(_ *testing.T, r *wrongRedis) { r.MustAsk("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") },
		func(_ *testing.T, r *wrongRedis) { r.MustAsk("CONFIG", "SET", "maxmemory-policy", "noeviction") }, "eviction"},
	{"another Redis behind the address, with 32 partitions",
		func(_ *testing.T, r *wrongRedis) {
			r.MustAsk("HSET", "vs:{p679}:meta", "partitions", "32")
			r.cut()
		},
		func(_ *testing.T, r *wrongRedis) { r.MustAsk("HSET", "vs:{p679}:meta", "partitions", "16") }, "data"},
}

func addUser(r *redistest.Server) { r.MustAsk("ACL", "SETUSER", "vs", "on", ">one", "~*", "+@all") }

// TestG17_WhatGoesWrongInRedisIsWaitedForAndSaid: the table of server/docs/redis.md, "When Redis goes wrong": what
// callers, Stripe, a probe, an operator and an alert see of each fault, and how long until all is well again.
func TestG17_WhatGoesWrongInRedisIsWaitedForAndSaid(t *testing.T) {
	const rows = "| %s | %s | %s | %s | %s | %s | %s | %s |"
	var mu sync.Mutex
	table := []string{
		fmt.Sprintf(rows, "fault", "`/readyz` is 503 after", "webhook", "`GetStatus`", "open watch", "log", "`verification_redis_misconfigured`", "well again after"),
		fmt.Sprintf(rows, "---", "---", "---", "---", "---", "---", "---", "---"),
	}
	t.Cleanup(func() { t.Logf("measured:\n%s", strings.Join(table, "\n")) })
	for n, fault := range redisFaults {
		table = append(table, "")
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			row := goThrough(t, fault)
			mu.Lock()
			defer mu.Unlock()
			table[2+n] = fmt.Sprintf(rows, fault.name, rounded(row.unready), row.webhook, row.status, row.watch, row.log, row.metric, rounded(row.well))
		})
	}
}

func rounded(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

// faultRow has the observations of one fault.
type faultRow struct {
	unready, well                       time.Duration
	webhook, status, watch, log, metric string
}

// goThrough runs a server through one fault and out of it.
func goThrough(t *testing.T, fault redisFault) (row faultRow) {
	r := &wrongRedis{Server: redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always"), url: filepath.Join(t.TempDir(), "url")}
	addUser(r.Server)
	r.setPassword(t, "one")
	p := rig.Serve(t, rig.Settings("", "REDIS_URL=", "REDIS_URL_FILE="+r.url))
	client, poster, events := rig.ClientOf(t, p), rig.NewHTTPClient(t), rig.Tries("vs_Fault", 5)
	rig.Deliver(t, poster, p.Webhook, events[0])
	rig.Deliver(t, poster, p.Webhook, rig.NewEvent("evt_other", "created", "vs_Other", time.Now().Unix(), nil, rig.Fields{"client_reference_id": "person-1"}))
	stream, err := client.WatchStatus(t.Context(), rig.WatchSessionRequest("vs_Fault", ""))
	if err != nil {
		t.Fatal(err)
	}
	revisions, end := receive(stream)
	wantRevision(t, revisions, 1)

	// Callers and Stripe never stop. In every fault of Redis a caller gets the truth, or an error that says that the truth
	// is not available.
	asking, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var kept []string
	callers.Go(func() { askOn(asking, t, client) })
	callers.Go(func() { kept = sendOn(asking, t, poster, p) })
	defer callers.Wait()
	defer stop()

	logged := len(p.Stderr.String())
	began := time.Now()
	fault.begin(t, r)
	p.AwaitReady(http.StatusServiceUnavailable)
	row.unready = time.Since(began)
	wantRefused(t, p, events[1])
	row.webhook = "503, `Retry-After`"
	_, err = client.GetStatus(rig.Within(t, rig.Soon), &verificationv1.GetStatusRequest{
		Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_Fault"}, IncludeHistory: true,
	})
	rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
	row.status = "`UNAVAILABLE`"
	fresh, err := client.WatchStatus(rig.Within(t, rig.Soon), rig.WatchAllRequest(""))
	if err == nil {
		_, err = fresh.Recv()
	}
	rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
	row.log, row.metric = faultIsSaid(t, p, poster, logged, fault.reason)

	began = time.Now()
	fault.end(t, r)
	p.AwaitReady(http.StatusOK)
	row.well = time.Since(began)
	if fault.reason != "" {
		name := fmt.Sprintf("verification_redis_misconfigured{reason=%q}", fault.reason)
		if got := scrape(t, poster, p)[name]; got != 0 {
			t.Errorf("afterwards %s is %v", name, got)
		}
	}
	for n, e := range events[1:] {
		rig.Deliver(t, poster, p.Webhook, e)
		wantRevision(t, revisions, int32(n)+2)
	}
	stop()
	callers.Wait()
	for _, id := range kept {
		if got := rig.GetStatus(t, client, id).GetVerification().GetRevision(); got != 1 {
			t.Errorf("%s was acknowledged: got revision %d, want 1", id, got)
		}
	}
	select {
	case err := <-end:
		t.Errorf("the watch has ended: %v", err)
	default:
		row.watch = "stays open, then continues without a hole"
	}
	return row
}

// askOn asks for existing sessions in three ways, until it is stopped.
func askOn(ctx context.Context, t *testing.T, client verificationv1.VerificationServiceClient) {
	session := &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_Fault"}
	reference := &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: "person-1"}
	list := &verificationv1.ListVerificationsRequest_ClientReferenceId{ClientReferenceId: "person-1"}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		_, err1 := client.GetStatus(ctx, &verificationv1.GetStatusRequest{Subject: session, IncludeHistory: true})
		_, err2 := client.GetStatus(ctx, &verificationv1.GetStatusRequest{Subject: reference})
		page, err3 := client.ListVerifications(ctx, &verificationv1.ListVerificationsRequest{Filter: list})
		for what, err := range map[string]error{"GetStatus": err1, "GetStatus by reference": err2, "ListVerifications": err3} {
			if code := status.Code(err); ctx.Err() == nil && code != codes.OK && code != codes.Unavailable && code != codes.DeadlineExceeded {
				t.Errorf("%s of an existing session: %v", what, err)
				return
			}
		}
		if got := len(page.GetVerifications()); err3 == nil && got != 1 {
			t.Errorf("ListVerifications: got %d sessions, want 1", got)
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// sendOn sends events of new sessions until it is stopped, and returns the sessions whose events were acknowledged.
func sendOn(ctx context.Context, t *testing.T, client *http.Client, p *rig.Process) (kept []string) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprint("vs_Sent", n)
		e := rig.NewEvent("evt_"+id, "created", id, time.Now().Unix(), nil, rig.Fields{})
		response, text, err := rig.Post(client, p.Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
		switch {
		case err != nil:
			t.Errorf("event %d: %v", n, err)
			return kept
		case response.StatusCode == http.StatusOK:
			kept = append(kept, id)
		case response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "":
			t.Errorf("event %d: %s, Retry-After %q, %q; want 200, or 503 with Retry-After", n, response.Status, response.Header.Get("Retry-After"), text)
			return kept
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	return kept
}

// faultIsSaid looks for the log line since a point of the log, and for the metric.
func faultIsSaid(t *testing.T, p *rig.Process, client *http.Client, since int, reason string) (line, metric string) {
	t.Helper()
	if reason == "" {
		p.Await("a warning", func() bool { return strings.Contains(p.Stderr.String()[since:], `"not ready: Redis does not answer"`) })
		return "warning: not ready: Redis does not answer", "0"
	}
	var entry struct{ Level, Msg, Reason, Error string }
	p.Await("an error line with the reason "+reason, func() bool {
		for text := range strings.Lines(p.Stderr.String()[since:]) {
			if json.Unmarshal([]byte(text), &entry) == nil && entry.Level == "ERROR" && entry.Reason == reason {
				return true
			}
		}
		return false
	})
	name := fmt.Sprintf("verification_redis_misconfigured{reason=%q}", reason)
	p.Await(name, func() bool { return scrape(t, client, p)[name] == 1 })
	t.Logf("%s: %s", entry.Msg, entry.Error)
	return "error: " + strings.SplitN(entry.Msg, ":", 2)[0] + ", `reason=" + reason + "`", "1"
}

// TestG17_APasswordThatWasChangedAtRedisAloneIsSaidWhileConnectionsLast: nothing fails yet, so no caller is refused. But an
// operator is warned before the connections end.
func TestG17_APasswordThatWasChangedAtRedisAloneIsSaidWhileConnectionsLast(t *testing.T) {
	t.Parallel()
	r := &wrongRedis{Server: redistest.Start(t), url: filepath.Join(t.TempDir(), "url")}
	addUser(r.Server)
	r.setPassword(t, "one")
	p := rig.Serve(t, rig.Settings("", "REDIS_URL=", "REDIS_URL_FILE="+r.url))
	logged := len(p.Stderr.String())
	r.MustAsk("ACL", "SETUSER", "vs", "resetpass", ">two")
	faultIsSaid(t, p, rig.NewHTTPClient(t), logged, "password")
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, rig.Tries("vs_a", 1)[0])
	if values := scrape(t, rig.NewHTTPClient(t), p); values["verification_ready"] != 1 {
		t.Error("not ready, although Redis does what it is asked")
	}
	r.setPassword(t, "two")
	p.Await("new connections", func() bool {
		return strings.Contains(p.Stderr.String()[logged:], "Redis lets new connections in again")
	})
}

// TestG17_AWrongPasswordAtTheFirstContactIsWaitedFor: the process listens already. Only a fault before that point ends it.
func TestG17_AWrongPasswordAtTheFirstContactIsWaitedFor(t *testing.T) {
	redis := redistest.Start(t, "--requirepass", "one")
	redis.Stop()
	p := rig.Launch(t, rig.Settings("", "REDIS_URL=redis://:two@"+redis.Addr), "serve")
	p.AwaitListening()
	redis.Start()
	faultIsSaid(t, p, rig.NewHTTPClient(t), 0, "password")
	p.AwaitReady(http.StatusServiceUnavailable)

	second := rig.Launch(t, rig.Settings("", "REDIS_URL=redis://:two@"+redis.Addr), "serve")
	if code := second.Exit(rig.Soon); code == 0 || !strings.Contains(second.Stderr.String(), "correct the user and password in REDIS_URL") {
		t.Errorf("exit code %d: %s", code, second.Stderr.String())
	}
}

// TestG17_ACommandThatIsNotThereIsNamedAtTheStart: the command was renamed, or the server is not a Redis.
func TestG17_ACommandThatIsNotThereIsNamedAtTheStart(t *testing.T) {
	for _, command := range []string{"INFO", "EVAL", "EVALSHA", "MULTI", "EXEC", "XREAD", "XRANGE", "HMGET", "ZADD", "GETRANGE", "PING", "SCAN"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			addr := redisWithout(t, command)
			p := rig.Launch(t, rig.Settings(addr), "serve")
			code := p.Exit(rig.Soon)
			if text := p.Stderr.String(); code == 0 || !strings.Contains(strings.ToLower(text), strings.ToLower(command)) || !strings.Contains(text, "needs") {
				t.Errorf("exit code %d: %s", code, text)
			}
		})
	}
}

// redisWithout starts a redis-server that does not have a command. Only a file can say so.
func redisWithout(t *testing.T, command string) (addr string) {
	t.Helper()
	rig.NeedProgram(t, "redis-server")
	addr = address.Free(t)
	_, port, _ := net.SplitHostPort(addr)
	file := filepath.Join(t.TempDir(), "redis.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %s\nsave \"\"\nrename-command %s \"\"\n", port, t.TempDir(), command)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rig.Begin(t, exec.Command("redis-server", file))
	rig.Await(t, "redis-server listens", func() bool {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return addr
}

// TestG17_ATopologyThatCannotBeReadIsNotAbsence: the driver knows no node of such a Cluster. An existing session must not
// be NOT_FOUND, because that ends a watch for good.
func TestG17_ATopologyThatCannotBeReadIsNotAbsence(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	env := rig.Settings(cluster.Addrs()[0], "REDIS_MODE=cluster")
	p := rig.Serve(t, env)
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, rig.NewEvent("evt_1", "created", "vs_there", time.Now().Unix(), nil, rig.Fields{"client_reference_id": "person-1"}))
	p.Kill()
	endpoints := func(kind string) {
		for _, node := range cluster.Nodes {
			node.MustAsk("CONFIG", "SET", "cluster-preferred-endpoint-type", kind)
		}
	}
	endpoints("unknown-endpoint")
	p = rig.Launch(t, env, "serve")
	p.AwaitListening()
	client := rig.ClientOf(t, p)
	faultIsSaid(t, p, rig.NewHTTPClient(t), 0, "topology")
	p.AwaitReady(http.StatusServiceUnavailable)
	for _, request := range []*verificationv1.GetStatusRequest{
		{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_there"}},
		{Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: "person-1"}},
	} {
		_, err := client.GetStatus(rig.Within(t, 5*time.Second), request)
		rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
	}
	_, err := client.ListVerifications(rig.Within(t, 5*time.Second), denied(verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED))
	rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
	stream, err := client.WatchStatus(rig.Within(t, 5*time.Second), rig.WatchSessionRequest("vs_there", ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); err == io.EOF {
		t.Fatal("the watch ended well")
	}
	rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
	wantRefused(t, p, rig.Tries("vs_there", 2)[1])

	endpoints("ip")
	p.AwaitReady(http.StatusOK)
	if got := rig.GetStatus(t, client, "vs_there").GetVerification().GetRevision(); got != 1 {
		t.Errorf("afterwards: got revision %d, want 1", got)
	}
}
