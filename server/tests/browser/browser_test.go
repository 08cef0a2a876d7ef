package browser

import (
	"encoding/json"
	"flag"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

var browserShots = flag.String("browser.shots", "", "a directory for pictures of the page; empty: none are made")

// browser is Chromium, driven by testdata/browser.
type browser struct {
	t       *testing.T
	driver  *rig.Process
	answers int // read so far
}

// startBrowser opens a browser on a phone, with a profile of its own. It ends with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	program := rig.NeedProgram(t, "chromium")
	dir := t.TempDir()
	rig.InstallNode(t, dir, filepath.Join("testdata", "browser"))
	cmd := exec.Command("node", "drive.mjs", program)
	cmd.Dir = dir
	b := &browser{t: t, driver: rig.Begin(t, cmd)}
	t.Cleanup(func() { // the driver closes the browser when its input ends
		_ = b.driver.Stdin.Close()
		select {
		case <-b.driver.Ended:
		case <-time.After(rig.Soon):
			t.Error("the browser does not end")
		}
	})
	b.answer("the start")
	return b
}

// do has the driver do a step, and returns its result as JSON.
func (b *browser) do(step string, with rig.Fields) string {
	b.t.Helper()
	line := rig.Fields{"do": step}
	for name, value := range with {
		line[name] = value
	}
	if err := json.NewEncoder(b.driver.Stdin).Encode(line); err != nil {
		b.t.Fatal(err)
	}
	return b.answer(step)
}

func (b *browser) answer(step string) string {
	b.t.Helper()
	var line string
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(2 * rig.Soon); ; <-ticker.C { // the driver's own limit comes first
		if lines := strings.SplitAfter(b.driver.Stdout.String(), "\n"); len(lines) > b.answers+1 {
			line = lines[b.answers]
			break
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the browser does not answer to %s", step)
		}
	}
	b.answers++
	var answer struct {
		Result json.RawMessage
		Error  string
	}
	if err := json.Unmarshal([]byte(line), &answer); err != nil || answer.Error != "" {
		b.t.Fatalf("browser, %s: %v %s", step, err, answer.Error)
	}
	return string(answer.Result)
}

// see waits until each text is on the page.
func (b *browser) see(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		b.do("see", rig.Fields{"text": text})
	}
}

func (b *browser) press(button string) { b.t.Helper(); b.do("press", rig.Fields{"name": button}) }

func (b *browser) follow(link string) { b.t.Helper(); b.do("follow", rig.Fields{"name": link}) }

func (b *browser) offline(on bool) { b.t.Helper(); b.do("offline", rig.Fields{"on": on}) }

func (b *browser) choose(result string) { b.t.Helper(); b.do("submit", rig.Fields{"outcome": result}) }

// inspect looks for flaws on phones and desktops, by day and by night, and takes the pictures.
func (b *browser) inspect(name string) {
	b.t.Helper()
	for _, width := range []int{320, 390, 1280} {
		for theme, dark := range map[string]bool{"light": false, "dark": true} {
			b.do("look", rig.Fields{"width": width, "dark": dark})
			looks := []string{"flaws"}
			if width == 390 && !dark || width == 1280 && dark || *browserShots != "" { // axe-core has the rules of WCAG, and takes longer
				looks = append(looks, "axe")
			}
			for _, look := range looks {
				if found := b.do(look, nil); found != "[]" {
					b.t.Errorf("%s, %d pixels wide, %s: %s: %s", name, width, theme, look, found)
				}
			}
			if *browserShots != "" {
				b.do("shot", rig.Fields{"path": filepath.Join(*browserShots, name+"-"+theme+"-"+map[int]string{320: "small", 390: "phone", 1280: "desktop"}[width]+".png")})
			}
		}
	}
	b.do("look", rig.Fields{"width": 390, "dark": false})
}

// picture is inspect if pictures are taken, for states that another inspected one resembles.
func (b *browser) picture(name string) {
	b.t.Helper()
	if *browserShots != "" {
		b.inspect(name)
	}
}

// TestPersonInABrowser: a person is refused, tries again, is refused, tries again and is verified. In between their network
// fails, and the page's server and the service are stopped and killed. The page shows the truth and continues by itself.
func TestPersonInABrowser(t *testing.T) { withEachSite(t, personInABrowser) }

func personInABrowser(t *testing.T, program site) {
	redis, stripe := redistest.Start(t), rig.StartFakeStripe(t)
	p := rig.Serve(t, stripe.Settings(redis.Addr))
	stripe.SendTo(p)
	again := stripe.Settings(redis.Addr, "GRPC_ADDR="+p.GRPC, "WEBHOOK_ADDR="+strings.TrimSuffix(strings.TrimPrefix(p.Webhook, "http://"), "/webhook"))
	page := newPageServer(t, program(t), p.GRPC, stripe.URL)
	page.start()
	b := startBrowser(t)
	finish := func() {
		t.Helper()
		stripe.CatchUp()
		stripe.Do(stripe.FinishProcessing, stripe.Sessions()[0].ID)
	}

	b.do("open", rig.Fields{"url": page.url})
	b.see("Verify your identity", "Live")
	b.inspect("start")
	b.press("Start verification")
	b.see("Simulation.")
	stripe.CatchUp()
	stripe.Tick()
	b.choose("document_expired")
	b.see("We’re checking your document")
	b.inspect("checking")
	finish()
	b.see("That didn’t work", "Your document has expired.", "You have 2 tries left.")
	b.inspect("refused")

	page.running.Kill()
	b.see("Reconnecting…", "Your document has expired.") // what is known stays
	page.start()
	b.see("Live", "Your document has expired.")
	b.do("keys", rig.Fields{"keys": []string{"Tab"}})
	if focused := b.do("focused", nil); focused != `"go"` {
		t.Errorf("the first Tab leads to %s; want the button", focused)
	}
	b.do("keys", rig.Fields{"keys": []string{"Enter"}})
	b.see("Simulation.")
	stripe.CatchUp()
	stripe.Tick()
	b.choose("document_unverified_other")
	b.see("We’re checking your document")

	b.offline(true)
	b.see("Reconnecting…")
	p.Kill()
	p = rig.Serve(t, again)
	finish() // while nobody can see it
	b.offline(false)
	b.see("Live", "We could not verify your document.", "You have one try left.")
	b.press("Try again")
	b.see("Simulation.")
	stripe.CatchUp()
	stripe.Tick()
	b.choose("verified")
	b.see("We’re checking your document")
	rig.Restart(p, again)
	finish()
	b.see("You’re verified", "Thank you")
	b.inspect("verified")

	if html := b.do("html", nil); strings.Contains(html, "_secret_") || strings.Contains(html, "/verify/") {
		t.Errorf("the page holds a secret: %s", html)
	}
	if cookies := b.do("cookies", nil); strings.Count(cookies, `"name"`) != 1 || !strings.Contains(cookies, `"httpOnly":true`) || !strings.Contains(cookies, `"sameSite":"Lax"`) {
		t.Errorf("cookies %s", cookies)
	}
	b.press("Start over as somebody else")
	b.see("Verify your identity", "Start verification")
	if problems := b.do("problems", nil); problems != "[]" {
		t.Errorf("the browser complains: %s", problems)
	}
}
