package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// demo returns a server for the examples, with one session.
func demo() *clienttest.Server {
	server, err := clienttest.Start()
	if err != nil {
		log.Fatal(err)
	}
	server.Set(person("vs_1", "user-42", requiresInput))
	return server
}

func failed() *verificationv1.Verification {
	v := person("vs_1", "user-42", requiresInput)
	v.LastError = &verificationv1.VerificationError{Code: verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED, Reason: "The document is expired."}
	return v
}

// A program prints the live status of a person. It survives restarts of the service.
func Example() {
	server := demo() // in real life, a deployed service
	defer server.Close()

	c, err := client.Dial(server.Target(), client.WithPlaintext())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for update, err := range c.Watch(context.Background(), client.Reference("user-42"), client.UntilSettled()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(update.Verification.GetStatus())

		if !update.Verification.GetSettled() { // in real life Stripe does this
			server.Set(person("vs_1", "user-42", update.Verification.GetStatus()+1))
		}
	}
	// Output:
	// STATUS_REQUIRES_INPUT
	// STATUS_PROCESSING
	// STATUS_VERIFIED
}

func ExampleClient_Status() {
	server := demo()
	defer server.Close()
	c := server.Client()

	v, err := c.Status(context.Background(), client.Session("vs_1"))
	fmt.Println(v.GetStatus(), v.GetLastError() == nil, err)
	_, err = c.Status(context.Background(), client.Session("vs_unknown"))
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output:
	// STATUS_REQUIRES_INPUT true <nil>
	// true
}

func ExampleClient_Retry() {
	server := demo()
	defer server.Close()
	c := server.Client()
	server.Set(failed())

	link, err := c.Retry(context.Background(), "vs_1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("send the person to", link.URL.Reveal())
	fmt.Println("never in a log:", link.URL)

	server.Set(person("vs_1", "user-42", processing))
	_, err = c.Retry(context.Background(), "vs_1")
	var denied *client.RetryDeniedError
	if errors.As(err, &denied) {
		fmt.Println(denied.Denial)
	}
	// Output:
	// send the person to https://verify.stripe.test/start/vs_1
	// never in a log: [redacted]
	// RETRY_DENIAL_PROCESSING
}

// A support desk lists the people whose retry is denied.
func ExampleClient_List() {
	server := demo()
	defer server.Close()
	c := server.Client()
	declined := failed()
	declined.LastError.Code = verificationv1.ErrorCode_ERROR_CODE_CONSENT_DECLINED
	server.Set(declined)

	for v, err := range c.List(context.Background(), client.ByDenial(verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE)) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(v.GetClientReferenceId(), v.GetLastError().GetCode())
	}
	// Output: user-42 ERROR_CODE_CONSENT_DECLINED
}

func ExampleClient_WaitSettled() {
	server := demo()
	defer server.Close()
	server.Set(person("vs_1", "user-42", verified))

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	v, err := server.Client().WaitSettled(ctx, client.Reference("user-42"))
	fmt.Println(v.GetStatus(), err)
	// Output: STATUS_VERIFIED <nil>
}

// A backend reacts to every outcome, also to outcomes from while it was down.
func ExampleClient_WatchAll() {
	server := demo()
	defer server.Close()
	c := server.Client()

	stored := ""  // in real life: in the database, in the transaction that reacts
	for range 2 { // two runs of the program
		server.Set(failed())
		for update, err := range c.WatchAll(context.Background(), client.ResumeFrom(stored), client.Bookmarks()) {
			if err != nil {
				log.Fatal(err) // client.ErrResumeTokenExpired: changes are lost, ask for what matters
			}
			stored = update.ResumeToken
			if update.Verification == nil {
				server.Set(person("vs_1", "user-42", verified))
				continue
			}
			fmt.Println(update.Verification.GetSessionId(), update.Verification.GetStatus())
			if update.Verification.GetSettled() {
				break // the program is stopped
			}
		}
	}
	// Output:
	// vs_1 STATUS_VERIFIED
	// vs_1 STATUS_REQUIRES_INPUT
	// vs_1 STATUS_VERIFIED
}
