package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"example.com/verification-status/server/tests/rig"
)

// Other programs that do the same work. Each is installed or built once for all runs of its benchmark, and skipped if that
// is not possible.

// warmUp is the number of webhooks that Node takes before the measurement: it compiles code that runs often, and reaches
// its speed after some thousands.
const warmUp = 5000

// express takes webhooks as Stripe's documentation shows it for Node, and stores nothing. It is one process, as the
// documentation starts it, and so uses one core. All runs share the process, because it keeps nothing but its compiled
// code.
func express(all *testing.B) subject {
	var p *rig.Process
	return subject{"server=express", func(b *testing.B) *rig.Process {
		if p == nil {
			dir := all.TempDir()
			rig.InstallNode(b, dir, filepath.Join("testdata", "express"))
			cmd := exec.Command("node", "webhook.mjs")
			cmd.Dir = dir
			cmd.Env = []string{
				"PATH=" + os.Getenv("PATH"), "HOME=" + dir,
				"NODE_ENV=production", // as Express wants it where speed counts
				"STRIPE_WEBHOOK_SECRET=" + rig.WebhookSecret,
			}
			p = rig.Begin(all, cmd)
			p.T = b
			p.AwaitListening()
			client := rig.NewHTTPClient(b)
			for _, e := range rig.Tries("vs_WarmUp", warmUp) {
				rig.Deliver(b, client, p.Webhook, e)
			}
		}
		p.T = b
		return p
	}}
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
		cmd.Env = []string{"REDIS_ADDR=" + startRedis(b).Addr, "STRIPE_WEBHOOK_SECRET=" + rig.WebhookSecret}
		p := rig.Begin(b, cmd)
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
