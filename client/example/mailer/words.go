package main

import (
	_ "embed"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// wordsFile is printed by words.mjs: the page and the mails have one table of words, that of client/example/bff.
//
//go:embed words.json
var wordsFile []byte

// words are the texts of one language. A text can be empty.
type words struct {
	Verified struct{ Title, Text string }
	Failed   struct{ Title, Text, Fact, Button, LeftOne, LeftMany, Later string }
	Denied   struct{ Title, Used, Final, Help string }
	Codes    map[string]codeWords // by ErrorCode, without its prefix
	Refusals map[string]string    // by RetryDenial, without its prefix
	Call     string
}

// codeWords say what went wrong, and what to do about it. Try and End have texts that fit better than those of Failed and Denied.
type codeWords struct {
	Fact, Advice string
	Try          struct{ Title, Text, Button string }
	End          struct{ Title, Text, Help string }
}

var languages = func() (all map[string]words) {
	if err := json.Unmarshal(wordsFile, &all); err != nil {
		panic(err) // a test reads it too
	}
	return all
}()

// letter is the content of a mail.
type letter struct {
	Language     string
	Title, Text  string
	FactTitle    string
	Fact, Advice string
	Link, Button string
	Note         string
}

func verifiedLetter(language string) letter {
	w := languages[language].Verified
	return letter{Language: language, Title: w.Title, Text: w.Text}
}

// failedLetter says why a check failed and what the person can do now, as the page does: see failed in words.js.
func failedLetter(language string, failure *verificationv1.VerificationError, now offer) letter {
	w := languages[language]
	code, known := w.Codes[strings.TrimPrefix(failure.GetCode().String(), "ERROR_CODE_")]
	if !known {
		code = w.Codes["OTHER"]
	}
	l := letter{Language: language, Title: w.Failed.Title, FactTitle: w.Failed.Fact, Fact: code.Fact}
	if !known || failure.GetCode() == verificationv1.ErrorCode_ERROR_CODE_OTHER {
		l.Fact = or(failure.GetReason(), code.Fact) // Stripe writes it for the person
	}
	switch {
	case now.link != "":
		l.Title, l.Text, l.Button = or(code.Try.Title, l.Title), or(code.Try.Text, w.Failed.Text), or(code.Try.Button, w.Failed.Button)
		l.Link, l.Advice = now.link, code.Advice
		l.Note = w.Failed.LeftOne
		if now.left > 1 {
			l.Note = strings.ReplaceAll(w.Failed.LeftMany, "{n}", strconv.Itoa(int(now.left)))
		}
	case now.denial == verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN:
		l.Text, l.Advice = strings.ReplaceAll(w.Failed.Later, "{time}", now.next.UTC().Format(time.DateTime)+" UTC"), code.Advice
	case now.needsHelp():
		why := w.Denied.Final
		if now.denial == verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED {
			why = w.Denied.Used
		}
		l.Title, l.Text = or(code.End.Title, w.Denied.Title), or(code.End.Text, why)
		l.Note = or(code.End.Help, w.Denied.Help) + " " + w.Call
	default: // the state has moved on since: the person has submitted again, or a newer session is in use
		l.Text = or(w.Refusals[strings.TrimPrefix(now.denial.String(), "RETRY_DENIAL_")], w.Refusals["REFUSED"])
	}
	return l
}

// helpLetter tells the team of a person that cannot go on alone.
func helpLetter(v *verificationv1.Verification, now offer) letter {
	why := "Stripe gives no link for this session."
	if now.denial != verificationv1.RetryDenial_RETRY_DENIAL_UNSPECIFIED {
		why = "A retry is denied: " + strings.TrimPrefix(now.denial.String(), "RETRY_DENIAL_") + "."
	}
	return letter{
		Language: "en", Title: "A person needs help: " + v.GetSessionId(), Text: why,
		FactTitle: "Newest failure", Fact: strings.TrimPrefix(v.GetLastError().GetCode().String(), "ERROR_CODE_"),
		Advice: "Failed attempts: " + strconv.Itoa(int(v.GetRetry().GetFailedAttempts())) + ". Your id of the person: " + or(v.GetClientReferenceId(), "none") + ".",
		Link:   "https://dashboard.stripe.com/" + mode(v) + "identity/verification-sessions/" + v.GetSessionId(), Button: "The session at Stripe",
	}
}

func mode(v *verificationv1.Verification) string {
	if v.GetLivemode() {
		return ""
	}
	return "test/"
}
