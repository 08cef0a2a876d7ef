package mailer

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"example.com/verification-status/server/tests/rig"
)

// facts returns the texts that say why a check failed, by Stripe's code, and the text of a session that an operator has resolved: the
// words of the page.
func facts(t *testing.T) (why map[string]string, resolved string) {
	t.Helper()
	text, err := os.ReadFile(rig.Path("client", "example", "mailer", "words.json"))
	if err != nil {
		t.Fatal(err)
	}
	var words struct {
		En struct {
			Codes    map[string]struct{ Fact string }
			Refusals struct{ Resolved string }
		}
	}
	if err := json.Unmarshal(text, &words); err != nil {
		t.Fatal(err)
	}
	why = map[string]string{}
	for code, w := range words.En.Codes {
		why[strings.ToLower(code)] = w.Fact
	}
	return why, words.En.Refusals.Resolved
}

const verifiedTitle = "You’re verified"

// judge compares the inbox with what the persons have lived: each outcome has its mail, in its order, and no other mail came. A mail
// that came again has the same Message-ID, and there is at most one of them for each kill. It returns the number of mails and of those
// that came again.
func judge(t *testing.T, persons []*person, box *inbox, kills int) (mails, again int) {
	t.Helper()
	why, resolved := facts(t)
	addresses := box.all()
	team := map[string]bool{}
	for _, m := range firsts(addresses[teamAddress]) {
		team[strings.TrimSuffix(m.name, ".team")] = true
	}
	helped, known := 0, map[string]bool{teamAddress: true}
	for _, p := range persons {
		known[p.address] = true
		want, got := p.expected(), firsts(addresses[p.address])
		if p.hasty && len(got) == len(want)-1 {
			want = want[:len(want)-1] // erased before the mail
		}
		if len(got) != len(want) {
			t.Errorf("%s %s: %d mails, want %d\ngot  %+v\nwant %+v\nevents %+v", p.address, p.id, len(got), len(want), got, want, summaries(p.accepted))
			continue
		}
		granted := 0
		for i, o := range want {
			verified := o.status == "verified"
			if (got[i].subject == verifiedTitle) != verified || !strings.Contains(got[i].text, why[o.code]) {
				t.Errorf("%s: mail %d is %+v; want one of %+v", p.address, i+1, got[i], o)
			}
			needsHelp := !verified && !o.resolved && (slices.Contains(final, o.code) || granted == maxRetries)
			tries := !verified && !o.resolved && !needsHelp
			if tries {
				granted++ // a try that an operator allows comes on top
			}
			if team[got[i].name] != needsHelp {
				t.Errorf("%s: outcome %d, %+v: the team has a mail: %v, want %v", p.address, i+1, o, team[got[i].name], needsHelp)
			}
			if needsHelp {
				helped++
			}
			if hasLink := links.MatchString(got[i].text); hasLink != tries {
				t.Errorf("%s: outcome %d, %+v: the mail has a link: %v\n%s", p.address, i+1, o, hasLink, got[i].text)
			}
			if says := strings.Contains(got[i].text, resolved); says != (!verified && o.resolved) {
				t.Errorf("%s: outcome %d, %+v: the mail says that the team is at it: %v\n%s", p.address, i+1, o, says, got[i].text)
			}
		}
	}
	if helped != len(team) {
		t.Errorf("the team has %d mails, want %d", len(team), helped)
	}
	for address, all := range addresses {
		if !known[address] {
			t.Errorf("%s is nobody's address, and has %d mails", address, len(all))
		}
		mails += len(all)
		again += len(all) - len(firsts(all))
	}
	if again > kills {
		t.Errorf("%d mails came again, at most one for each of %d kills may", again, kills)
	}
	return mails, again
}

func summaries(events []event) (all []outcome) {
	for _, e := range events {
		all = append(all, e.outcome)
	}
	return all
}
