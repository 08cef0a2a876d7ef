package rpc

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

type listRequest = verificationv1.ListVerificationsRequest

func listStatus(status verificationv1.Status) *listRequest {
	return &listRequest{Filter: &verificationv1.ListVerificationsRequest_Status{Status: status}}
}

func listDenial(denial verificationv1.RetryDenial) *listRequest {
	return &listRequest{Filter: &verificationv1.ListVerificationsRequest_Denial{Denial: denial}}
}

func listReference(reference string) *listRequest {
	return &listRequest{Filter: &verificationv1.ListVerificationsRequest_ClientReferenceId{ClientReferenceId: reference}}
}

func listInDoubt() *listRequest {
	return &listRequest{Filter: &verificationv1.ListVerificationsRequest_InDoubt{InDoubt: &verificationv1.InDoubt{}}}
}

func listStuck(atLeast *durationpb.Duration) *listRequest {
	return &listRequest{Filter: &verificationv1.ListVerificationsRequest_ProcessingLongerThan{ProcessingLongerThan: atLeast}}
}

// list reads all pages, in pages of a size, and checks each session against GetStatus.
func (r *replica) list(request *listRequest, size int32) (ids []string) {
	r.t.Helper()
	request = proto.Clone(request).(*listRequest)
	request.PageSize = size
	for range 1000 {
		response, err := r.ListVerifications(r.t.Context(), request)
		if err != nil {
			r.t.Fatalf("list %v: %v", request, err)
		}
		for _, v := range response.GetVerifications() {
			ids = append(ids, v.GetSessionId())
			if want := r.status(v.GetSessionId()); !proto.Equal(v, want) {
				r.t.Errorf("listed is %v, but the status is %v", v, want)
			}
		}
		if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
			return ids
		}
		if len(request.PageToken) > 2048 {
			r.t.Errorf("a token of %d characters", len(request.PageToken))
		}
	}
	r.t.Fatalf("list %v does not end", request)
	return nil
}

func (r *replica) wantList(what string, request *listRequest, want ...string) {
	r.t.Helper()
	for _, size := range []int32{0, 1, 2, 200} {
		if got := r.list(request, size); !slices.Equal(got, want) {
			r.t.Errorf("%s, %d at a time: %v; want %v", what, size, got, want)
		}
	}
}

func TestListsBySituation(t *testing.T) {
	b := newBackend(t)
	b.clock = func() time.Time { return time.Unix(t0+1000, 0) }
	b.policy.MaxRetries = 0
	r := b.replica(t)
	young, old := eventOf(1, 900, object("vs_young", "processing", reference("person"), created(2))), eventOf(1, 100, object("vs_old", "processing"))
	for _, e := range []verification.Event{
		eventOf(1, 10, object("vs_open", "requires_input", reference("person"), created(3))),
		eventOf(1, 2, object("vs_limit", "requires_input", failure("document_expired", 1))),
		eventOf(1, 9, object("vs_limit2", "requires_input", failure("selfie_face_mismatch", 1))),
		eventOf(1, 3, object("vs_age", "requires_input", failure("under_supported_age", 1))),
		young, old,
		eventOf(1, 500, object("vs_strange", "reviewing")),
		eventOf(1, 4, object("vs_verified", "verified", reference("person"), created(1))),
		eventOf(1, 5, object("vs_canceled", "canceled")),
		eventOf(1, 6, object("vs_unresolved", "requires_input", failure("document_expired", 1))),
		eventOf(2, 6, object("vs_unresolved", "verified")),
	} {
		r.apply(e)
	}
	erased := eventOf(1, 7, object("vs_erased", "requires_input", failure("consent_declined", 1), reference("person")))
	r.apply(erased)
	erased.ID, erased.Second, erased.Object.Redaction = "evt_erased", t0+8, verification.RedactionProcessing
	r.apply(erased)
	if !r.record("vs_unresolved").Unresolved {
		t.Fatal("the session is not unresolved")
	}
	unresolved := statusLists[r.status("vs_unresolved").GetStatus()]
	if unresolved != verification.ListVerified {
		t.Fatalf("vs_unresolved is in list %d", unresolved)
	}

	r.wantList("requires input", listStatus(verificationv1.Status_STATUS_REQUIRES_INPUT), "vs_open", "vs_limit2", "vs_age", "vs_limit")
	r.wantList("processing", listStatus(verificationv1.Status_STATUS_PROCESSING), "vs_young", "vs_strange", "vs_old")
	r.wantList("verified", listStatus(verificationv1.Status_STATUS_VERIFIED), "vs_unresolved", "vs_verified")
	r.wantList("canceled", listStatus(verificationv1.Status_STATUS_CANCELED), "vs_canceled")
	r.wantList("at the limit", listDenial(verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED), "vs_limit2", "vs_limit")
	r.wantList("not retryable", listDenial(verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE), "vs_age")
	r.wantList("in doubt", listInDoubt(), "vs_unresolved")
	r.wantList("of a person", listReference("person"), "vs_open", "vs_young", "vs_verified")
	r.wantList("of nobody", listReference("nobody"))
	for after, want := range map[time.Duration][]string{
		0: {"vs_young", "vs_strange", "vs_old"}, 100 * time.Second: {"vs_young", "vs_strange", "vs_old"}, 101 * time.Second: {"vs_strange", "vs_old"},
		900 * time.Second: {"vs_old"}, 900*time.Second + 1: nil, 1 << 62: nil,
	} {
		r.wantList(after.String(), listStuck(durationpb.New(after)), want...)
	}
}

func TestListPagesHaveTheirSize(t *testing.T) {
	r := newBackend(t).replica(t)
	for n := range 230 {
		r.apply(eventOf(1, int64(n%5), object(fmt.Sprintf("vs_%03d", n), "processing")))
	}
	request := listStatus(verificationv1.Status_STATUS_PROCESSING)
	for size, want := range map[int32]int{0: 50, 1: 1, 50: 50, 200: 200, 201: 200, 1 << 30: 200} {
		request.PageSize = size
		response, err := r.ListVerifications(t.Context(), request)
		if err != nil || len(response.GetVerifications()) != want || response.GetNextPageToken() == "" {
			t.Errorf("page size %d: %d sessions, %v; want %d and more", size, len(response.GetVerifications()), err, want)
		}
	}
	ids := r.list(request, 33)
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 230 {
		t.Errorf("%d sessions", len(ids))
	}
}

func TestWhichListsCanBeAskedFor(t *testing.T) {
	r := newBackend(t).replica(t)
	for n := range 3 {
		r.apply(eventOf(1, int64(n), object(fmt.Sprintf("vs_%d", n), "processing", reference("jane.doe@example.org"))))
	}
	first := listReference("jane.doe@example.org")
	first.PageSize = 1
	page, err := r.ListVerifications(t.Context(), first)
	if err != nil || page.GetNextPageToken() == "" {
		t.Fatalf("%v, %v", page, err)
	}
	token := page.GetNextPageToken()
	if raw, err := base64.RawURLEncoding.DecodeString(token); err != nil || strings.Contains(string(raw), "jane") {
		t.Errorf("the token shows the reference: %q, %v", raw, err)
	}
	with := func(request *listRequest, change func(*listRequest)) *listRequest {
		change(request)
		return request
	}
	follow := func(request *listRequest) *listRequest {
		return with(request, func(r *listRequest) { r.PageToken = token })
	}
	for name, c := range map[string]struct {
		request *listRequest
		field   string
		says    string
	}{
		"nothing":                   {&listRequest{}, "filter", "denial"},
		"no reference":              {listReference(""), "client_reference_id", "empty"},
		"a long reference":          {listReference(strings.Repeat("x", 256)), "client_reference_id", "255"},
		"no status":                 {listStatus(0), "status", "STATUS_UNSPECIFIED"},
		"a status to come":          {listStatus(99), "status", "99"},
		"no denial":                 {listDenial(0), "denial", "LIMIT_REACHED"},
		"processing":                {listDenial(1), "denial", "STATUS_PROCESSING"},
		"verified":                  {listDenial(2), "denial", "STATUS_VERIFIED"},
		"canceled":                  {listDenial(3), "denial", "STATUS_CANCELED"},
		"redacted":                  {listDenial(4), "denial", "no list"},
		"superseded":                {listDenial(7), "denial", "superseded_by"},
		"cooldown":                  {listDenial(8), "denial", "STATUS_REQUIRES_INPUT"},
		"a denial to come":          {listDenial(99), "denial", "LIMIT_REACHED"},
		"a negative duration":       {listStuck(durationpb.New(-1)), "processing_longer_than", "0 or more"},
		"a duration that is none":   {listStuck(&durationpb.Duration{Seconds: 1, Nanos: -1}), "processing_longer_than", "0 or more"},
		"a negative size":           {with(listInDoubt(), func(r *listRequest) { r.PageSize = -1 }), "page_size", "200"},
		"a garbled token":           {with(listInDoubt(), func(r *listRequest) { r.PageToken = "next" }), "page_token", "send the next_page_token of the same list"},
		"too long a token":          {with(listInDoubt(), func(r *listRequest) { r.PageToken = strings.Repeat("x", 2049) }), "page_token", "2048"},
		"another reference's token": {follow(listReference("other")), "page_token", "send the next_page_token of the same list"},
		"another filter's token":    {follow(listInDoubt()), "page_token", "send the next_page_token of the same list"},
		"another status's token":    {follow(listStatus(1)), "page_token", "send the next_page_token of the same list"},
	} {
		_, err := r.ListVerifications(t.Context(), c.request)
		d := wantError(t, err, codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST)
		if d.field() != c.field || !strings.Contains(d.message, c.says) || strings.Contains(d.message, "jane") {
			t.Errorf("%s: blames %q: %s", name, d.field(), d.message)
		}
	}
	if page, err := r.ListVerifications(t.Context(), follow(listReference("jane.doe@example.org"))); err != nil || len(page.GetVerifications()) != 2 {
		t.Errorf("with its own token, and another size: %v, %v", page, err)
	}
}

// Every filter has its own tokens, and so has every value of it.
func TestListFiltersHaveDifferentNames(t *testing.T) {
	s := New(Config{Live: uncached{}, Clock: time.Now})
	seen := make(map[string]*listRequest)
	for _, request := range []*listRequest{
		listStatus(1), listStatus(2), listStatus(3), listStatus(4), listDenial(5), listDenial(6), listInDoubt(),
		listReference("a"), listReference("in doubt"), listReference("1"), listStuck(durationpb.New(0)), listStuck(durationpb.New(1)),
	} {
		_, filter, err := s.listFilter(request)
		if other := seen[filter]; err != nil || other != nil {
			t.Errorf("%v has the filter %q of %v, %v", request, filter, other, err)
		}
		seen[filter] = request
	}
}

// TestProcessingLongerThanSince1970ListsNothing: the bound is then second 0, which is a bound as every other.
func TestProcessingLongerThanSince1970ListsNothing(t *testing.T) {
	b := newBackend(t)
	now := time.Unix(1_800_000_000, 0)
	b.clock = func() time.Time { return now }
	r := b.replica(t)
	r.apply(eventOf(1, 99_999_990, object("vs_1", "processing"))) // ten seconds ago
	for seconds, want := range map[int64]int{
		0: 1, 10: 1, 11: 0, 1_799_999_999: 0, 1_800_000_000: 0, 1_800_000_001: 0, 300_000_000_000: 0,
	} {
		got, err := r.ListVerifications(t.Context(), listStuck(&durationpb.Duration{Seconds: seconds}))
		if err != nil || len(got.GetVerifications()) != want {
			t.Errorf("longer than %d s: %d sessions, %v; want %d", seconds, len(got.GetVerifications()), err, want)
		}
	}
}

func TestListsWithoutAStore(t *testing.T) {
	b := newBackend(t)
	flaky := &flakyStore{}
	r := b.replica(t, func(c *Config) { flaky.Store = c.Live; c.Live = uncached{flaky, c.Live.Hub(), 0} })
	flaky.set(fmt.Errorf("read a list: %w", store.ErrUnavailable))
	_, err := r.ListVerifications(t.Context(), listInDoubt())
	if d := wantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE); d.retry == nil {
		t.Error("there is no RetryInfo")
	}
}
