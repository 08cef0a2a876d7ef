package client_test

import (
	"errors"
	"slices"
	"testing"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestWatchAllFilters watches a life of four changes: a failure, the grant of a retry, processing, verified.
func TestWatchAllFilters(t *testing.T) {
	for name, test := range map[string]struct {
		options []client.WatchOption
		want    []int32
	}{
		"all":               {nil, []int32{1, 2, 3, 4}},
		"outcomes":          {[]client.WatchOption{client.OutcomesOnly()}, []int32{1, 3, 4}},
		"a status":          {[]client.WatchOption{client.Statuses(verified)}, []int32{4}},
		"both":              {[]client.WatchOption{client.OutcomesOnly(), client.Statuses(requiresInput, verified)}, []int32{1, 4}},
		"no status, so any": {[]client.WatchOption{client.Statuses()}, []int32{1, 2, 3, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t)
			c := server.Client()
			var seen []int32
			for update, err := range c.WatchAll(within(t), append(test.options, client.Bookmarks())...) {
				if err != nil {
					t.Fatal(err)
				}
				if update.Verification == nil {
					server.Set(failed())
					if _, err := c.Retry(t.Context(), "vs_1"); err != nil {
						t.Fatal(err)
					}
					server.Set(session("vs_1", processing))
					server.Set(session("vs_1", verified))
					continue
				}
				seen = append(seen, update.Verification.GetRevision())
				if update.Verification.GetStatus() == verified {
					break
				}
			}
			if !slices.Equal(seen, test.want) {
				t.Errorf("saw revisions %d; want %d", seen, test.want)
			}
		})
	}
}

func TestFiltersThatCannotBe(t *testing.T) {
	c := newServer(t).Client()
	for _, option := range []client.WatchOption{client.OutcomesOnly(), client.Statuses(verified)} {
		for _, err := range c.Watch(within(t), client.Session("vs_1"), option) {
			if !errors.Is(err, client.ErrInvalidRequest) {
				t.Errorf("a watch of one session with a filter yields %v; want ErrInvalidRequest", err)
			}
		}
	}
	for _, err := range c.WatchAll(within(t), client.Statuses(verificationv1.Status_STATUS_UNSPECIFIED)) {
		if !errors.Is(err, client.ErrInvalidRequest) {
			t.Errorf("a watch with an unknown status yields %v; want ErrInvalidRequest", err)
		}
	}
}
