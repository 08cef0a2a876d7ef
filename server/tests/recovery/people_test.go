package recovery

import (
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/tests/rig"
)

// person is a session, and the texts about the person that must go with a redaction.
type person struct {
	id, reference string
	markers       []string
}

// come creates the session of a person.
func (i *installation) come(name string) *person {
	i.t.Helper()
	reference := "Person-" + name + "-Erased"
	return &person{id: i.stripe.NewSession(reference), reference: reference, markers: []string{reference}}
}

// submit submits an outcome, waits for it, and notes the texts that Stripe adds.
func (i *installation) submit(p *person, outcome string) {
	i.t.Helper()
	i.stripe.SubmitAndFinish(p.id, outcome)
	session, _ := i.stripe.Session(p.id)
	p.markers = append(p.markers, strings.TrimPrefix(session.LastVerificationReport, "vr_"))
}

// redact redacts sessions at Stripe, wholly.
func (i *installation) redact(people ...*person) {
	i.t.Helper()
	for _, p := range people {
		i.stripe.Do(i.stripe.Redact, p.id)
		i.stripe.Do(i.stripe.FinishRedaction, p.id)
	}
}

// readable returns where something of a redacted person can be read, or "".
func (i *installation) readable(people []*person) string {
	i.t.Helper()
	for n, p := range people {
		client := i.clients[n%len(i.clients)]
		response := rig.GetStatus(i.t, client, p.id)
		v := response.GetVerification()
		if v.GetRedaction() != verificationv1.Redaction_REDACTION_REDACTED || len(response.GetHistory()) > 0 || leaks(response.String(), p) {
			return fmt.Sprintf("GetStatus shows %v", response)
		}
		if n%(1+len(people)/30) > 0 {
			continue // a reference that is not known here costs a read at Stripe, and so a tenth of a second
		}
		for what, text := range map[string]string{"GetStatus by reference": i.byReference(client, p), "the list of a reference": i.list(client, &verificationv1.ListVerificationsRequest{
			Filter: &verificationv1.ListVerificationsRequest_ClientReferenceId{ClientReferenceId: p.reference},
		})} {
			if strings.Contains(text, p.id) || leaks(text, p) {
				return fmt.Sprintf("%s shows %s", what, text)
			}
		}
	}
	for _, listed := range []verificationv1.Status{
		verificationv1.Status_STATUS_REQUIRES_INPUT, verificationv1.Status_STATUS_PROCESSING, verificationv1.Status_STATUS_VERIFIED, verificationv1.Status_STATUS_CANCELED,
	} {
		text := i.list(i.clients[0], &verificationv1.ListVerificationsRequest{Filter: &verificationv1.ListVerificationsRequest_Status{Status: listed}})
		for _, p := range people {
			if leaks(text, p) {
				return fmt.Sprintf("the list of %v shows %v", listed, p)
			}
		}
	}
	return holds("Redis", i.dump(), people)
}

// unredacted returns a session that is not shown as redacted, or "".
func (i *installation) unredacted(people []*person) string {
	i.t.Helper()
	for n, p := range people {
		if v := rig.GetStatus(i.t, i.clients[n%len(i.clients)], p.id).GetVerification(); v.GetRedaction() != verificationv1.Redaction_REDACTION_REDACTED {
			return v.String()
		}
	}
	return ""
}

// byReference returns the answer for a reference. A session that is not found is no answer.
func (i *installation) byReference(client verificationv1.VerificationServiceClient, p *person) string {
	i.t.Helper()
	response, err := client.GetStatus(rig.Within(i.t, rig.Soon), &verificationv1.GetStatusRequest{
		Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: p.reference}, IncludeHistory: true,
	})
	if err != nil && status.Code(err) != codes.NotFound {
		i.t.Fatalf("GetStatus by a reference: %v", err)
	}
	return response.String()
}

// list returns all pages of a list as text.
func (i *installation) list(client verificationv1.VerificationServiceClient, request *verificationv1.ListVerificationsRequest) string {
	i.t.Helper()
	var text strings.Builder
	for request.PageSize = 200; ; {
		response, err := client.ListVerifications(rig.Within(i.t, rig.Soon), request)
		if err != nil {
			i.t.Fatalf("list %v: %v", request, err)
		}
		text.WriteString(response.String())
		if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
			return text.String()
		}
	}
}

// leaks reports whether a text has something about a person, other than the id of the session.
func leaks(text string, p *person) bool {
	for _, marker := range p.markers {
		if marker != "" && strings.Contains(text, marker) {
			return true
		}
	}
	return false
}

// holds returns what of the people a text holds, or "".
func holds(where, text string, people []*person) string {
	for _, p := range people {
		for _, marker := range p.markers {
			if at := strings.Index(text, marker); marker != "" && at >= 0 {
				return fmt.Sprintf("%s holds %s: %q", where, marker, text[max(0, at-100):min(len(text), at+100)])
			}
		}
	}
	return ""
}

// dump returns everything that Redis holds.
func (i *installation) dump() string {
	i.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: i.addr})
	defer client.Close()
	ctx := rig.Within(i.t, 5*time.Minute) // with RECOVERY_SESSIONS it takes longer than Soon
	var text strings.Builder
	for keys := client.Scan(ctx, 0, "*", 1000).Iterator(); keys.Next(ctx); {
		key := keys.Val()
		kind, err := client.Type(ctx, key).Result()
		var value any
		if err == nil {
			switch kind {
			case "none":
				continue // it has just expired
			case "string":
				value, err = client.Get(ctx, key).Result()
			case "hash":
				value, err = client.HGetAll(ctx, key).Result()
			case "zset":
				value, err = client.ZRange(ctx, key, 0, -1).Result()
			case "stream":
				value, err = client.XRange(ctx, key, "-", "+").Result()
			case "set":
				value, err = client.SMembers(ctx, key).Result()
			default:
				i.t.Fatalf("the key %s is a %s, which this test does not know", key, kind)
			}
		}
		if err != nil && err != redis.Nil {
			i.t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s = %v\n", key, value)
	}
	return text.String()
}

// wrong returns which status differs from Stripe's, or "".
func (i *installation) wrong() string {
	i.t.Helper()
	redactions := map[string]verificationv1.Redaction{"processing": verificationv1.Redaction_REDACTION_PROCESSING, "redacted": verificationv1.Redaction_REDACTION_REDACTED}
	for n, want := range i.stripe.Sessions() {
		got := rig.GetStatus(i.t, i.clients[n%len(i.clients)], want.ID).GetVerification()
		code := want.LastErrorCode
		if want.Redaction != "" {
			code = ""
		}
		begins := want.Redaction == "processing" && want.Status == "verified" // Stripe sends nothing about the begin of such a redaction
		if got.GetStripeStatus() != want.Status || got.GetLastError().GetStripeCode() != code || got.GetRedaction() != redactions[want.Redaction] && !begins {
			return fmt.Sprintf("%v; at Stripe it is %+v", got, want)
		}
	}
	return ""
}

// bulkReference returns the reference of a session of the history. None is a part of another one.
func bulkReference(n int) string { return fmt.Sprintf("Past-%d-Erased", n) }

// bulkPerson returns a person of the history. Call it before the redaction.
func bulkPerson(s stripesim.Session) *person {
	return &person{id: s.ID, reference: s.ClientReferenceID, markers: []string{s.ClientReferenceID, strings.TrimPrefix(s.LastVerificationReport, "vr_")}}
}
