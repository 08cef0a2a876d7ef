package rpc

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"example.com/verification-status/server/internal/comparison"
	"example.com/verification-status/server/internal/verification"
)

// fakeStripe is a Stripe whose sessions a test sets, with faults. Each GET gives another link.
type fakeStripe struct {
	mu          sync.Mutex
	sessions    map[string]verification.Object
	gets        int
	finds       int
	creates     int
	fail        error // of every call, as long as it is set
	linkless    bool
	noLinks     int             // so many of the next answers have no link
	during      func(id string) // called inside each GET, after Stripe has looked
	replaced    map[string]string
	keyed       map[string]string  // return URL of the first POST for a key
	made        []string           // the sessions that were made
	secrets     []string           // all links and keys ever given
	keys        []string           // the ephemeral keys asked for: account, session and version
	outputs     comparison.Outputs // of every session that is verified
	outputReads []string           // the reads of outputs: account, session and whether they were sensitive
	keyFail     error              // of every ephemeral key, as long as it is set
	// unnamed makes new sessions without the claim in their metadata, as where 50 other keys are there.
	unnamed bool
}

func newFakeStripe(objects ...verification.Object) *fakeStripe {
	f := &fakeStripe{sessions: map[string]verification.Object{}, replaced: map[string]string{}, keyed: map[string]string{}}
	for _, o := range objects {
		f.sessions[o.ID] = o
	}
	return f
}

func (f *fakeStripe) set(objects ...verification.Object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range objects {
		f.sessions[o.ID] = o
	}
}

func (f *fakeStripe) change(c func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c()
}

// dropKeys drops all idempotency keys, as Stripe does after a day.
func (f *fakeStripe) dropKeys() {
	f.change(func() { f.replaced, f.keyed = map[string]string{}, map[string]string{} })
}

func (f *fakeStripe) counts() (gets, finds, creates int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gets, f.finds, f.creates
}

func (f *fakeStripe) Retrieve(ctx context.Context, account, id string) (verification.Retrieved, error) {
	read, during, err := f.retrieve(ctx, account, id)
	if during != nil && err == nil {
		during(id)
	}
	return read, err
}

func (f *fakeStripe) Read(ctx context.Context, _ verification.Purpose, account, id string) (verification.Retrieved, error) {
	return f.Retrieve(ctx, account, id)
}

func (f *fakeStripe) retrieve(ctx context.Context, account, id string) (verification.Retrieved, func(string), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gets++
	o, known := f.sessions[id]
	known = known && o.Account == account
	switch {
	case ctx.Err() != nil:
		return verification.Retrieved{}, nil, fmt.Errorf("%w: %w", verification.ErrStripeUnavailable, ctx.Err())
	case f.fail != nil:
		return verification.Retrieved{}, nil, f.fail
	case !known:
		return verification.Retrieved{}, nil, verification.ErrStripeUnknown
	}
	read := verification.Retrieved{Object: o, AsOf: t0 + 1_000_000}
	if f.noLinks > 0 {
		f.noLinks--
	} else if o.Status == verification.StatusRequiresInput && !f.linkless {
		url, secret := fmt.Sprintf("https://verify.example/%s/link%d", id, f.gets), fmt.Sprintf("%s_secret_%d", id, f.gets)
		f.secrets = append(f.secrets, url, secret)
		read.Link = verification.Link{URL: verification.Secret(url), ClientSecret: verification.Secret(secret)}
	}
	return read, f.during, nil
}

func (f *fakeStripe) FindByReference(_ context.Context, ref string) (verification.Retrieved, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finds++
	if f.fail != nil {
		return verification.Retrieved{}, f.fail
	}
	var found []verification.Object
	for _, o := range f.sessions {
		if o.Reference == ref {
			found = append(found, o)
		}
	}
	if len(found) == 0 {
		return verification.Retrieved{}, verification.ErrStripeUnknown
	}
	newest := slices.MaxFunc(found, func(a, b verification.Object) int { return int(a.Created - b.Created) })
	return verification.Retrieved{Object: newest, AsOf: t0 + 1_000_000}, nil
}

func (f *fakeStripe) CreateLike(_ context.Context, _, id, returnURL string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return "", f.fail
	}
	if first, asked := f.keyed[id]; asked && first != returnURL {
		return "", &verification.StripeRefusedError{Code: "idempotency_error"}
	}
	f.keyed[id] = returnURL
	if successor := f.replaced[id]; successor != "" {
		return successor, nil
	}
	f.creates++
	o := f.sessions[id]
	next := verification.Object{
		ID: fmt.Sprintf("%sr", id), Type: o.Type, Status: verification.StatusRequiresInput, Created: o.Created + 100, Reference: o.Reference, Replaces: id, Account: o.Account,
	}
	if _, made := f.sessions[next.ID]; made { // the key was forgotten: another session
		next.ID = fmt.Sprintf("%s%d", next.ID, f.creates)
	}
	if f.unnamed {
		next.Replaces = ""
	}
	f.sessions[next.ID], f.replaced[id] = next, next.ID
	f.made = append(f.made, next.ID)
	return next.ID, nil
}

// Outputs has the outputs of each session that is verified here.
func (f *fakeStripe) Outputs(_ context.Context, account, id string, sensitive bool) (comparison.Outputs, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outputReads = append(f.outputReads, fmt.Sprintf("%s %s %v", account, id, sensitive))
	switch o, known := f.sessions[id]; {
	case f.fail != nil:
		return comparison.Outputs{}, f.fail
	case !known:
		return comparison.Outputs{}, verification.ErrStripeUnknown
	case o.Status != verification.StatusVerified || o.Redaction != verification.RedactionNone:
		return comparison.Outputs{}, comparison.ErrNotComparable
	case sensitive:
		return comparison.Outputs{DateOfBirth: f.outputs.DateOfBirth, IDNumber: f.outputs.IDNumber}, nil
	}
	found := f.outputs
	found.DateOfBirth, found.IDNumber = comparison.Value{}, comparison.Value{}
	return found, nil
}

func (f *fakeStripe) EphemeralKey(_ context.Context, account, id, version string) (verification.Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys = append(f.keys, fmt.Sprintf("%s %s %s", account, id, version))
	switch o, known := f.sessions[id]; {
	case f.fail != nil:
		return "", f.fail
	case f.keyFail != nil:
		return "", f.keyFail
	case !known || o.Account != account:
		return "", &verification.StripeRefusedError{Code: "resource_missing"}
	}
	secret := fmt.Sprintf("ek_test_%s_%d", id, len(f.keys))
	f.secrets = append(f.secrets, secret)
	return verification.Secret(secret), nil
}

// Event implements ingest.Stripe. Only thin events need it, and no test of this package sends one.
func (f *fakeStripe) Event(context.Context, verification.Purpose, string, string, string) (verification.Event, error) {
	return verification.Event{}, verification.ErrStripeUnknown
}
