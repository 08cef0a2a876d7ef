package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestWordsArePrintedFromThePage: words.json is what words.mjs prints now.
func TestWordsArePrintedFromThePage(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("node is not installed: apt-get install nodejs, then go test -count=1")
		}
		t.Skip("node is not installed: apt-get install nodejs, then go test -count=1")
	}
	printed, err := exec.CommandContext(t.Context(), "node", "words.mjs").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(printed, wordsFile) {
		t.Error("words.json is not what the page's table has: node words.mjs >words.json")
	}
}

// TestEveryFailureHasWords: in each language, for each code and each answer to the question what the person can do.
func TestEveryFailureHasWords(t *testing.T) {
	offers := map[string]offer{"link": {link: "https://stripe.example/x", left: 2}, "stuck": {stuck: true}}
	for number, name := range verificationv1.RetryDenial_name {
		if number != 0 {
			offers[name] = offer{denial: verificationv1.RetryDenial(number), next: time.Unix(1_790_000_000, 0)}
		}
	}
	for language, w := range languages {
		for number, name := range verificationv1.ErrorCode_name {
			code := verificationv1.ErrorCode(number)
			if code == verificationv1.ErrorCode_ERROR_CODE_UNSPECIFIED || code == verificationv1.ErrorCode_ERROR_CODE_ABANDONED {
				continue
			}
			if _, ok := w.Codes[strings.TrimPrefix(name, "ERROR_CODE_")]; !ok {
				t.Errorf("%s: no words for %s", language, name)
			}
			for what, now := range offers {
				l := failedLetter(language, &verificationv1.VerificationError{Code: code}, now)
				if l.Title == "" || l.Text == "" || l.Fact == "" || l.FactTitle == "" {
					t.Errorf("%s, %s, %s: an empty text in %+v", language, name, what, l)
				}
				if (l.Link == "") != (now.link == "") || (l.Button == "") != (now.link == "") {
					t.Errorf("%s, %s, %s: the link is %q and the button %q", language, name, what, l.Link, l.Button)
				}
				if strings.Contains(l.Text+l.Note, "{") {
					t.Errorf("%s, %s, %s: a text is not filled in: %+v", language, name, what, l)
				}
			}
		}
	}
}

// TestWhatAPersonReads: the words of some cases as the page has them.
func TestWhatAPersonReads(t *testing.T) {
	expired := &verificationv1.VerificationError{Code: verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED, Reason: "The document is expired."}
	declined := &verificationv1.VerificationError{Code: verificationv1.ErrorCode_ERROR_CODE_CONSENT_DECLINED}
	unknown := &verificationv1.VerificationError{Code: verificationv1.ErrorCode_ERROR_CODE_OTHER, Reason: "Your hat hides your face."}
	again := offer{link: "https://stripe.example/x", left: 1}
	for _, test := range []struct {
		name    string
		failure *verificationv1.VerificationError
		now     offer
		want    letter
	}{
		{"a link", expired, again, letter{
			Title: "That didn’t work", Text: "It happens, and you can try again.", Fact: "Your document has expired.",
			Advice: "Use one that is still valid.", Link: again.link, Button: "Try again", Note: "You have one try left.",
		}},
		{"two tries", expired, offer{link: again.link, left: 2}, letter{
			Title: "That didn’t work", Text: "It happens, and you can try again.", Fact: "Your document has expired.",
			Advice: "Use one that is still valid.", Link: again.link, Button: "Try again", Note: "You have 2 tries left.",
		}},
		{"no tries", expired, offer{denial: verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED}, letter{
			Title: "We couldn’t verify you", Text: "You have used all your tries.", Fact: "Your document has expired.",
			Note: "Our team can help you in another way. Call 0800 555 0142",
		}},
		{"declined", declined, offer{denial: verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE}, letter{
			Title: "You chose not to be verified", Text: "That is up to you: without your consent we check nothing.",
			Fact: "You did not agree to the check.", Note: "Have you changed your mind? Our team opens the check for you again. Call 0800 555 0142",
		}},
		{"later", expired, offer{denial: verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN, next: time.Unix(1_790_000_000, 0)}, letter{
			Title: "That didn’t work", Text: "You can try again from 2026-09-21 14:13:20 UTC on.", Fact: "Your document has expired.",
			Advice: "Use one that is still valid.",
		}},
		{"submitted again", expired, offer{denial: verificationv1.RetryDenial_RETRY_DENIAL_PROCESSING}, letter{
			Title: "That didn’t work", Text: "Your last try is still being checked.", Fact: "Your document has expired.",
		}},
		{"a new code", unknown, again, letter{
			Title: "That didn’t work", Text: "It happens, and you can try again.", Fact: "Your hat hides your face.",
			Link: again.link, Button: "Try again", Note: "You have one try left.",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.want.Language, test.want.FactTitle = "en", "What went wrong"
			if got := failedLetter("en", test.failure, test.now); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}
