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
