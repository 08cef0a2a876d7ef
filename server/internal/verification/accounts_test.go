package verification

import "testing"

func TestAccounts(t *testing.T) {
	for _, test := range []struct {
		ids     []string
		account string
		want    bool
	}{
		{nil, "acct_1", true}, {nil, "", true}, {[]string{}, "acct_1", true},
		{[]string{"acct_1"}, "acct_1", true}, {[]string{"acct_1"}, "acct_2", false}, {[]string{"acct_1"}, "", true},
	} {
		if got := NewAccounts(test.ids).Accept(test.account); got != test.want {
			t.Errorf("%q accepts %q: %v", test.ids, test.account, got)
		}
	}
}

// TestTheFirstInputThatNamesTheAccountFillsItIn: a replica of the version before has begun the record without the account, because
// the event named it by its context alone.
func TestTheFirstInputThatNamesTheAccountFillsItIn(t *testing.T) {
	of := func(account string, e Event) Event { e.Object.Account = account; return e }
	began := after(of("", created("a", 5)))
	for name, input := range map[string]func(Session) (Session, Outcome){
		"an event":             func(s Session) (Session, Outcome) { return Transition(s, of("acct_1", processing("b", 6, ""))) },
		"a stale event":        func(s Session) (Session, Outcome) { return Transition(s, of("acct_1", processing("b", 4, ""))) },
		"the same event again": func(s Session) (Session, Outcome) { return Transition(s, of("acct_1", created("a", 5))) },
		"a thin event": func(s Session) (Session, Outcome) {
			return ApplyThin(s, thin(of("acct_1", processing("b", 6, ""))), read(s, 6, of("acct_1", processing("b", 6, "")).Object))
		},
		"a read": func(s Session) (Session, Outcome) {
			return ApplyRead(s, read(s, 6, of("acct_1", processing("b", 6, "")).Object))
		},
		"a read of the same state": func(s Session) (Session, Outcome) {
			return ApplyRead(s, read(s, 6, of("acct_1", created("a", 5)).Object))
		},
	} {
		next, outcome := input(began)
		if next.Account != "acct_1" || !outcome.Write {
			t.Errorf("%s: account %q, outcome %+v; want acct_1, written", name, next.Account, outcome)
		}
		for _, account := range []string{"", "acct_2"} {
			if s, _ := Transition(next, of(account, processing("c", 9, ""))); s.Account != "acct_1" {
				t.Errorf("%s: a later event of %q makes the account %q", name, account, s.Account)
			}
		}
	}
}
