package client_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// completeUpTo is the number of sessions up to which a list of verified or canceled sessions has no gap. Such a list keeps about the
// newest 1,900, with gaps among the oldest of these.
const completeUpTo = 1000

// missed handles the sessions with one of these statuses that Stripe has changed since a time. It returns the statuses of which further
// sessions can have changed since then: the program must ask Status for those that it still waits for.
func missed(ctx context.Context, c *client.Client, since time.Time, handle func(*verificationv1.Verification) error, statuses ...verificationv1.Status) (
	incomplete []verificationv1.Status, err error,
) {
	for _, status := range statuses {
		listed := 0
		for v, err := range c.List(ctx, client.ByStatus(status), client.PageSize(200)) {
			if err != nil {
				return incomplete, err
			}
			if v.GetUpdateTime().AsTime().Before(since) {
				break
			}
			listed++
			if err := handle(v); err != nil {
				return incomplete, err
			}
		}
		if listed > completeUpTo && (status == verified || status == canceled) {
			incomplete = append(incomplete, status)
		}
	}
	return incomplete, nil
}

// changed returns a session that Stripe changed at a time.
func changed(id string, status verificationv1.Status, at time.Time) *verificationv1.Verification {
	v := session(id, status)
	v.UpdateTime = timestamppb.New(at)
	return v
}

// After OUT_OF_RANGE, a program handles what it has missed. vs_late changed long before the newest effect, and Stripe's event came long
// after it.
func ExampleClient_List_missed() {
	server := demo() // in real life, a deployed service
	defer server.Close()
	c := server.Client()
	acknowledged := time.Now().Add(-9 * 24 * time.Hour)
	server.Set(changed("vs_old", verified, acknowledged.Add(-60*24*time.Hour)))
	server.Set(changed("vs_late", verified, acknowledged.Add(-20*24*time.Hour)))
	server.Set(changed("vs_new", verified, acknowledged.Add(time.Hour)))

	const feedMaxAge, stripeLists = 7 * 24 * time.Hour, 30 * 24 * time.Hour
	incomplete, err := missed(context.Background(), c, acknowledged.Add(-feedMaxAge-stripeLists), func(v *verificationv1.Verification) error {
		fmt.Println(v.GetSessionId(), v.GetStatus()) // handled once under v.GetOutcomeId()
		return nil
	}, verified, canceled)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ask Status for the rest of", incomplete)
	// Output:
	// vs_new STATUS_VERIFIED
	// vs_late STATUS_VERIFIED
	// ask Status for the rest of []
}

// TestAListThatCanHaveGapsIsReported: such a list ends like a complete one.
func TestAListThatCanHaveGapsIsReported(t *testing.T) {
	server := newServer(t)
	c, since := server.Client(), time.Now()
	for i := range completeUpTo {
		server.Set(changed(fmt.Sprint("vs_", i), verified, since))
		server.Set(changed(fmt.Sprint("vs_open_", i), requiresInput, since))
	}
	server.Set(changed("vs_before", verified, since.Add(-time.Second)))
	for _, tt := range []struct {
		name string
		add  *verificationv1.Verification
		want []verificationv1.Status
	}{
		{"1,000 verified sessions", nil, nil},
		{"1,001 open sessions", changed("vs_open", requiresInput, since), nil},
		{"1,001 verified sessions", changed("vs_more", verified, since), []verificationv1.Status{verified}},
	} {
		if tt.add != nil {
			server.Set(tt.add)
		}
		handled := map[string]bool{}
		got, err := missed(within(t), c, since, func(v *verificationv1.Verification) error {
			handled[v.GetSessionId()] = true
			return nil
		}, verified, canceled, requiresInput)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: missed returned %v and %v; want %v", tt.name, got, err, tt.want)
		}
		if handled["vs_before"] || !handled["vs_0"] {
			t.Errorf("%s: handled a session of before the bound: %v, one of the bound: %v; want only the second", tt.name, handled["vs_before"], handled["vs_0"])
		}
	}
}
