package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// Other programs that do the same work. Each is installed or built once for all runs of its benchmark, and skipped if that
// is not possible.

// warmUp returns the number of webhooks that Node takes before the measurement: it compiles code that runs often, and reaches
// its speed after some thousands. With -short it is one: then speed does not count.
func warmUp() int {
	if testing.Short() {
		return 1
	}
	return 5000
}

// expressPrograms are the programs of testdata/express, installed once: webhook.mjs takes webhooks as Stripe's documentation shows it for
// Node, and stores nothing; hset.mjs stores the newest status of each session in Redis too. Each is one process, as the documentation
// starts it, and so uses one core.
type expressPrograms struct {
	all testing.TB // with its end they end
	dir string     // once they are installed
}

// start starts a program, and skips now if the programs cannot be installed.
func (e *expressPrograms) start(now testing.TB, program string) *rig.Process {
	now.Helper()
	if e.dir == "" {
		dir := e.all.TempDir()
		rig.InstallNode(now, dir, filepath.Join("testdata", "express"))
		e.dir = dir
	}
	cmd := exec.Command("node", program)
	cmd.Dir = e.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + e.dir,
		"NODE_ENV=production", // as Express wants it where speed counts
		"STRIPE_WEBHOOK_SECRET=" + rig.WebhookSecret,
	}
	var redis *redistest.Server
	if program == "hset.mjs" {
		redis = startRedis(e.all)
		cmd.Env = append(cmd.Env, "REDIS_URL=redis://"+redis.Addr)
	}
	p := rig.Begin(e.all, cmd)
	p.Redis = redis
	p.AwaitListening()
	return p
}

// subject is a program that is warm. All runs share its process, because it keeps nothing in itself but its compiled code.
func (e *expressPrograms) subject(name, program string) subject {
	var p *rig.Process
	return subject{name, func(b *testing.B) *rig.Process {
		if p == nil {
			p = e.start(b, program)
			p.T = b
			client := rig.NewHTTPClient(b)
			for _, event := range rig.Tries("vs_WarmUp", warmUp()) {
				rig.Deliver(b, client, p.Webhook, event)
			}
		}
		p.T = b
		return p
	}}
}

// TestExpressKeepsTheNewestStatus: the comparison does the work that it is measured for.
func TestExpressKeepsTheNewestStatus(t *testing.T) {
	p := (&expressPrograms{all: t}).start(t, "hset.mjs")
	client := rig.NewHTTPClient(t)
	for _, e := range rig.Tries("vs_Kept", 3) {
		rig.Deliver(t, client, p.Webhook, e)
		var sent struct {
			Data struct{ Object struct{ Status string } }
		}
		if err := json.Unmarshal(e.Body, &sent); err != nil {
			t.Fatal(err)
		}
		if got, want := p.Redis.MustAsk("HGET", "vs_Kept", "status"), sent.Data.Object.Status; got != want || want == "" {
			t.Errorf("Redis has the status %q, want %q", got, want)
		}
	}
	forged := rig.Tries("vs_Forged", 1)[0]
	response, _, err := rig.Post(client, p.Webhook, rig.Sign(time.Now(), "whsec_ofsomebodyelse", forged.Body), forged.Body)
	if err != nil || response.StatusCode != http.StatusBadRequest {
		t.Errorf("an event with a wrong signature was answered %v, %v, want 400", response, err)
	}
	if got := p.Redis.MustAsk("EXISTS", "vs_Forged"); got != "0" {
		t.Error("an event with a wrong signature was kept")
	}
}

// centrifuge is a library for deliveries in Go. It uses Redis in its own way: a stream of publications for each channel,
// and PUB/SUB. The clients, the contract, the webhooks and the kind of Redis are the same as the server's. The program's
// comment says what it does less.
func centrifuge(all *testing.B) subject {
	dir, built := all.TempDir(), false
	program := filepath.Join(dir, "centrifuge")
	return subject{"server=centrifuge", func(b *testing.B) *rig.Process {
		if !built {
			buildCentrifuge(b, dir, program)
			built = true
		}
		cmd := exec.Command(program)
		redis := startRedis(b)
		cmd.Env = []string{"REDIS_ADDR=" + redis.Addr, "STRIPE_WEBHOOK_SECRET=" + rig.WebhookSecret}
		p := rig.Begin(b, cmd)
		p.Redis = redis
		p.AwaitListening()
		return p
	}}
}

// buildCentrifuge builds a module of its own, so that the server's module does not need the library. If the server's module
// needs a module in a newer version, the version comes from there, in copies of go.mod and go.sum.
func buildCentrifuge(b *testing.B, dir, program string) {
	b.Helper()
	rig.NeedProgram(b, "go")
	from := filepath.Join("testdata", "centrifuge")
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-modfile="+filepath.Join(dir, "go.mod"), "-o", program, ".")
	build.Dir = from
	if out, err := build.CombinedOutput(); err != nil {
		rig.SkipOrFail(b, fmt.Sprintf("go cannot build %s, which needs modules that are not in its cache: %v\n%s\nconnect this machine to a Go module proxy", from, err, out))
	}
}
