package e2e

import (
	"strings"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// sentinelSettings returns the environment of a server that finds Redis through Sentinels.
func sentinelSettings(set *redistest.SentinelSet, more ...string) []string {
	return rig.Settings("", append([]string{
		"REDIS_URL=redis://" + strings.Join(set.Addrs(), ","), "REDIS_MODE=sentinel", "REDIS_SENTINEL_MASTER=" + redistest.MasterName, "LOG_LEVEL=debug",
	}, more...)...)
}

// TestServeIsRefusedBySentinels ends the start, and says which setting is wrong.
func TestServeIsRefusedBySentinels(t *testing.T) {
	t.Parallel() // it mostly waits
	var secrets secretCanaries
	right, wrong := secrets.add("%s", "PlantedRightPassword"), secrets.add("%s", "PlantedWrongPassword")
	set := redistest.StartSentinel(t, 0, 1)
	set.Sentinels[0].MustAsk("ACL", "SETUSER", "default", "resetpass", ">"+right)
	for _, test := range []struct {
		name string
		env  []string
		want string
	}{
		{"no password", nil, "set REDIS_SENTINEL_PASSWORD"},
		{"the password in REDIS_URL", []string{"REDIS_URL=redis://:" + right + "@" + set.Addrs()[0]}, "set REDIS_SENTINEL_PASSWORD"},
		{"a wrong password", []string{"REDIS_SENTINEL_PASSWORD=" + wrong}, "correct REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD"},
		{"a wrong user", []string{"REDIS_SENTINEL_USERNAME=other", "REDIS_SENTINEL_PASSWORD=" + right}, "correct REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := rig.Launch(t, sentinelSettings(set, test.env...), "serve")
			if code := p.Exit(rig.Soon); code != 1 || !strings.Contains(p.Stderr.String(), test.want) {
				t.Errorf("exit code %d; want 1 and %q in:\n%s", code, test.want, rig.Tail(p.Stderr.String()))
			}
			secrets.wantAbsent(t, "the log", p.Stderr.String()+p.Stdout.String())
		})
	}
}

// TestG17_TheSentinelsPasswordIsRolledWithoutARestart: connections made after the old one was taken away
// use the new one.
func TestG17_TheSentinelsPasswordIsRolledWithoutARestart(t *testing.T) {
	t.Parallel()
	var secrets secretCanaries
	first, second, admin := secrets.add("%s", "PlantedFirstPassword"), secrets.add("%s", "PlantedSecondPassword"), secrets.add("%s", "PlantedAdminPassword")
	set := redistest.StartSentinel(t, 0, 1)
	sentinel, master := set.Sentinels[0], set.Servers[0]
	sentinel.MustAsk("ACL", "SETUSER", "app", "on", ">"+first, "&*", "+@all")
	sentinel.MustAsk("ACL", "SETUSER", "default", "resetpass", ">"+admin)
	sentinel.AskWith(admin)
	user, password := mountSecret(t, "app\n"), mountSecret(t, first+"\n")
	p := rig.Serve(t, sentinelSettings(set, "REDIS_SENTINEL_USERNAME_FILE="+user.path, "REDIS_SENTINEL_PASSWORD_FILE="+password.path))
	reloads := func(result string) string {
		return metric(t, p, `verification_file_reloads_total{file="REDIS_SENTINEL_PASSWORD_FILE",result="`+result+`"}`)
	}
	password.swap(second + "\n" + second)
	p.Await("a file of two lines is refused", func() bool { return reloads("refused") == "1" })
	sentinel.MustAsk("ACL", "SETUSER", "app", ">"+second)
	password.swap(second)
	p.Await("the new password is taken", func() bool { return reloads("used") == "1" })
	sentinel.MustAsk("ACL", "SETUSER", "app", "<"+first)
	for _, server := range []*redistest.Server{sentinel, master} {
		server.MustAsk("CLIENT", "KILL", "TYPE", "pubsub")
		server.MustAsk("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	}
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, rig.NewEvent("evt_1", "processing", "vs_1", time.Now().Unix()-100, nil, rig.Fields{"status": "processing"}))
	if got := rig.GetStatus(t, rig.ClientOf(t, p), "vs_1"); got.GetVerification().GetStatus() != verificationv1.Status_STATUS_PROCESSING {
		t.Errorf("%v", got)
	}
	if users := sentinel.MustAsk("CLIENT", "LIST", "TYPE", "normal"); !strings.Contains(users, "user=app") {
		t.Errorf("the Sentinel has not been asked by the new password:\n%s", users)
	}
	secrets.wantAbsent(t, "an admin page", strings.Join(adminPages(t, p), "\n"))
	secrets.wantAbsent(t, "the log", p.Stderr.String()+p.Stdout.String())
}
