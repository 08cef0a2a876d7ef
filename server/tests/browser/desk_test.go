package browser

import (
	"encoding/json"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// startDesk builds and starts the example with the page for people who look after others. It returns its address and its process.
func startDesk(t *testing.T, status string) (string, *rig.Process) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "desk")
	build := exec.Command("go", "build", "-o", program, "./client/example/desk")
	build.Dir = rig.Path()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	running := rig.Begin(t, exec.Command(program, "-addr", addr, "-status", status))
	running.Await("the desk listens", func() bool { return strings.Contains(running.Stderr.String(), addr) })
	return "http://" + addr, running
}

// TestDeskInABrowser: a colleague finds a person that was refused for their age, allows one more try and makes a link. The person is
// verified while the story is open. Another person is marked as dealt with, and leaves the queue.
func TestDeskInABrowser(t *testing.T) {
	t.Parallel() // it mostly waits
	redis, stripe := redistest.Start(t), rig.StartFakeStripe(t)
	p := rig.Serve(t, stripe.Settings(redis.Addr))
	stripe.SendTo(p)
	desk, running := startDesk(t, p.GRPC)
	b := startBrowser(t)
	b.do("open", rig.Fields{"url": desk})
	b.see("Who are you?")
	b.picture("desk-sign-in")
	b.do("fill", rig.Fields{"label": "Your name", "text": "Rosa Okafor"})
	b.do("keys", rig.Fields{"keys": []string{"Enter"}})
	b.see("Nobody waits for help.", "Live")
	b.picture("desk-quiet")

	stripe.CatchUp()
	young := stripe.NewSession("young-1")
	stripe.SubmitAndFinish(young, "under_supported_age")
	b.see("young-1", "Younger than the people Stripe verifies") // the page is live
	b.inspect("desk-queue")
	b.do("fill", rig.Fields{"label": "Your reference, or Stripe’s vs_… of a check", "text": "young-1"})
	b.press("Search")
	b.see("All checks of this person")
	b.picture("desk-person")
	b.follow("young-1")
	b.see("Stuck: refused for good", "The person is below the supported age.", "Live")
	b.inspect("desk-stuck")
	b.follow("Allow one more try")
	b.see("Allow one more try?", "the log of the desk will name you, Rosa Okafor")
	b.picture("desk-question")
	b.do("keys", rig.Fields{"keys": []string{"Enter"}}) // the button has the focus
	b.see("You allowed one more try.", "One more try is open", "One more try was allowed")
	b.picture("desk-allowed")
	b.follow("New link to send")
	b.press("Make the link")
	b.see("The new link")
	b.inspect("desk-link")
	var link string
	if err := json.Unmarshal([]byte(b.do("value", rig.Fields{"label": "Link to Stripe’s page"})), &link); err != nil {
		t.Fatal(err)
	}
	b.follow("Look at the story")
	b.see("A retry was granted", "Live")
	stripe.CatchUp()
	stripe.UseLink(link, young, "verified")
	b.see("Stripe has verified this person.", "Verified, by this check.") // the page is live
	b.picture("desk-verified")
	if text := b.text(); strings.Contains(text, link) || strings.Contains(running.Stderr.String(), link) {
		t.Error("the link is on the story or in the log")
	}

	stripe.CatchUp()
	shy := stripe.NewSession("shy-2")
	stripe.SubmitAndFinish(shy, "consent_declined")
	b.follow("Queue")
	b.see("shy-2")
	b.follow("shy-2")
	b.follow("Dealt with elsewhere")
	b.see("How was this person dealt with?")
	b.inspect("desk-kinds")
	b.do("check", rig.Fields{"label": "Declined"})
	b.press("Mark as dealt with")
	b.see("You marked this person as dealt with.", "Dealt with: declined")
	b.picture("desk-resolved")
	b.follow("Take the mark back")
	b.press("Take it back")
	b.see("You took the mark back.", "Stuck: refused for good")
	b.follow("Consumers")
	b.see("No program follows the feed by a name.")
	b.picture("desk-consumers")
	if problems := b.do("problems", nil); problems != "[]" {
		t.Errorf("the browser complains: %s", problems)
	}

	b.do("begin", rig.Fields{"javaScript": false}) // everything but live works
	b.do("open", rig.Fields{"url": desk})
	b.do("fill", rig.Fields{"label": "Your name", "text": "Sam"})
	b.press("Begin")
	b.follow("shy-2")
	b.see("Stuck: refused for good")
	if text := b.text(); !strings.Contains(text, "Not live: load the page again") {
		t.Errorf("without JavaScript the story does not say that it is not live: %s", text)
	}
	b.follow("Allow one more try")
	b.press("Allow one more try")
	b.see("You allowed one more try.")
	for _, want := range []string{`person="Rosa Okafor" session_id=` + young + " act=allow", "person=Sam session_id=" + shy + " act=allow"} {
		if !strings.Contains(running.Stderr.String(), want) {
			t.Errorf("the log of the desk has no %q: %s", want, running.Stderr.String())
		}
	}
}
