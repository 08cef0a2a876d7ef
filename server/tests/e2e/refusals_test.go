package e2e

import (
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestG10_RefusalsHoldNoSecret: a mistyped setting does not put its secret into the log.
func TestG10_RefusalsHoldNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "PlantedSecret0123456789"
	db := redistest.Start(t, "--requirepass", "another-one")
	wrongPassword := "redis://" + url.UserPassword("", secret+"!").String() + "@"
	with := func(more ...string) []string {
		return rig.Settings("127.0.0.1:1", append([]string{"LOG_LEVEL=debug"}, more...)...)
	}
	for _, c := range []struct {
		name string
		env  []string
		args []string
	}{
		{"wrong password of Redis", with("REDIS_URL=" + wrongPassword + db.Addr), nil},
		{"wrong user of Redis", with("REDIS_URL=redis://nobody:" + secret + "@" + db.Addr), nil},
		{"password with an escape too few", with("REDIS_URL=redis://:" + secret + "%zz@" + db.Addr), nil},
		{"password with a slash", with("REDIS_URL=redis://:" + secret + "/x@" + db.Addr), nil},
		{"two passwords", with("REDIS_URL=redis://:"+secret+"@a:1,redis://:"+secret+"2@b:1", "REDIS_MODE=cluster"), nil},
		{"no URL", with("REDIS_URL=" + secret), nil},
		{"publishable key", with("STRIPE_API_KEY=pk_live_" + secret), nil},
		{"key of another kind", with("STRIPE_API_KEY=" + secret), nil},
		{"key with a line break", with("STRIPE_API_KEY=sk_live_" + secret + "\n"), nil},
		{"key of the other mode", with("STRIPE_API_KEY=sk_live_"+secret, "LIVEMODE=false"), nil},
		{"webhook secret with a space", with("STRIPE_WEBHOOK_SECRET=whsec_a whsec_" + secret), nil},
		{"API key as the webhook secret", with("STRIPE_WEBHOOK_SECRET=sk_live_" + secret), nil},
		{"webhook secret in quotes", with(`STRIPE_WEBHOOK_SECRET="whsec_` + secret + `"`), nil},
		{"key as the base", with("STRIPE_API_BASE=https://sk_live_" + secret + "@api.stripe.com"), nil},
		{"key as a number", with("MAX_RETRIES=sk_live_" + secret), nil},
		{"key in a boolean", with("GRPC_INSECURE=sk_live_" + secret), nil},
		{"secret as the level", with("LOG_LEVEL=whsec_" + secret), nil},
		{"value and file", with("STRIPE_API_KEY=sk_live_"+secret, "STRIPE_API_KEY_FILE=/nowhere"), nil},
		{"flag with a space too much", with(), []string{"--stripe-api-key=", "sk_live_" + secret}},
		{"flag misspelt", with(), []string{"--stripe-key=sk_live_" + secret}},
		{"flag for a boolean", with(), []string{"--grpc-insecure=sk_live_" + secret}},
		{"argument", with(), []string{"whsec_" + secret}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := rig.Launch(t, c.env, append([]string{"serve"}, c.args...)...)
			if code := p.Exit(rig.Soon); code == 0 {
				t.Error("exit code 0")
			}
			text := p.Stdout.String() + p.Stderr.String()
			if text == "" || strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
				t.Errorf("it says: %s", text)
			}
		})
	}
	t.Run("Redis away", func(t *testing.T) {
		p := rig.Launch(t, with("REDIS_URL=redis://:"+secret+"@127.0.0.1:1"), "serve")
		p.AwaitListening()
		p.Await("a line about Redis", func() bool { return strings.Contains(p.Stderr.String(), "Redis cannot be reached") })
		p.Signal(syscall.SIGTERM)
		if code := p.Exit(10 * time.Second); code != 0 || strings.Contains(p.Stderr.String(), secret) {
			t.Errorf("exit code %d, and it says: %s", code, p.Stderr.String())
		}
	})
}

// TestHelpNamesEverySetting: the help has the flag, variable and default of each setting, and shows no secret of its
// environment.
func TestHelpNamesEverySetting(t *testing.T) {
	const secret = "PlantedSecret0123456789"
	p := rig.Launch(t, []string{"STRIPE_API_KEY=sk_live_" + secret, "STRIPE_WEBHOOK_SECRET=whsec_" + secret, "REDIS_URL=redis://:" + secret + "@h"}, "serve", "--help")
	if code := p.Exit(rig.Soon); code != 0 {
		t.Errorf("exit code %d", code)
	}
	help := p.Stdout.String()
	words := strings.Join(strings.Fields(help), " ")
	for _, setting := range config.Table() {
		if !strings.Contains(help, "--"+setting.Flag+"=") && !strings.Contains(help, "--[no-]"+setting.Flag) && !strings.Contains(help, "--"+setting.Flag+" ") {
			t.Errorf("no flag --%s", setting.Flag)
		}
		if !strings.Contains(words, "($"+setting.Env+")") {
			t.Errorf("no variable %s", setting.Env)
		}
		if setting.Default != "" && !strings.Contains(words, "Default: "+setting.Default+".") {
			t.Errorf("no default %s of %s", setting.Default, setting.Env)
		}
	}
	if strings.Contains(help+p.Stderr.String(), secret) {
		t.Errorf("the help holds a secret:\n%s", help)
	}
	all := rig.Launch(t, nil, "--help")
	if code := all.Exit(rig.Soon); code != 0 || !strings.Contains(all.Stdout.String(), "serve") || !strings.Contains(all.Stdout.String(), "dev") {
		t.Errorf("exit code %d: %s", code, all.Stdout.String())
	}
}

// TestATakenAddressIsOneSentence: it names the setting, and what to do.
func TestATakenAddressIsOneSentence(t *testing.T) {
	first := rig.Serve(t, rig.Settings(redistest.Start(t).Addr))
	taken := first.GRPC
	for _, setting := range []string{"GRPC_ADDR", "WEBHOOK_ADDR", "ADMIN_ADDR"} {
		p := rig.Launch(t, rig.Settings("127.0.0.1:1", setting+"="+taken), "serve")
		if code := p.Exit(rig.Soon); code == 0 {
			t.Errorf("%s: exit code 0", setting)
		}
		flag := strings.ReplaceAll(strings.ToLower(setting), "_", "-")
		if !strings.Contains(p.Stderr.String(), "\n"+setting+" (--"+flag+") "+taken+" is taken by another process") {
			t.Errorf("%s: it says %s", setting, p.Stderr.String())
		}
	}
}
