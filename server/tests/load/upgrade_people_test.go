//go:build load

package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/tests/rig"
)

// person is somebody who is verified, with the backend that acts for this person.
type person struct {
	*upgrade
	rng       *rand.Rand
	reference string
	browser   *http.Client

	mu      sync.Mutex
	shown   map[string]*verificationv1.Verification // by the watches of the person's sessions
	chain   []string                                // the person's sessions: each replaces the one before
	granted int32                                   // retries that were accepted, each counted once
}

// startPeople lets people begin: two of each kind at once, then others at an even pace, until the last replacement.
func (u *upgrade) startPeople() {
	browser := rig.NewHTTPClient(u.t)
	between := time.Duration(float64(time.Second) / *upgradeBirths)
	for n := 0; n < 2*len(lifeKinds) || pauseFor(u.living, between) == nil; n++ {
		p := &person{
			upgrade: u, rng: rand.New(rand.NewPCG(u.seed, uint64(1000+n))), reference: fmt.Sprintf("person-%d", n),
			browser: browser, shown: map[string]*verificationv1.Verification{},
		}
		u.mu.Lock()
		u.people = append(u.people, p)
		u.mu.Unlock()
		kind := lifeKinds[n%len(lifeKinds)]
		u.lives.Go(func() {
			if p.begin() && kind.live(p) {
				u.mu.Lock()
				defer u.mu.Unlock()
				u.lived[kind.name]++
			}
		})
	}
}

// begin creates the person's session and watches it.
func (p *person) begin() bool {
	session, err := p.stripe.Create(stripesim.NewSession{ClientReferenceID: p.reference, Metadata: map[string]string{"case": "17"}})
	if err != nil {
		p.wrong("%s: %v", p.reference, err)
		return false
	}
	if p.rng.IntN(3) == 0 {
		p.watchReference()
	}
	p.follow(session.ID)
	return true
}

// follow makes a session the person's newest one.
func (p *person) follow(id string) {
	p.mu.Lock()
	p.chain = append(p.chain, id)
	p.mu.Unlock()
	p.watchSession(id)
}

// session returns the person's newest session.
func (p *person) session() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.chain[len(p.chain)-1]
}

// sees notes what a watch of a session shows.
func (p *person) sees(v *verificationv1.Verification) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown[v.GetSessionId()] = v
}

// does makes a step of the person's newest session at Stripe, after the two seconds that people need, so that each change has a second of
// its own. It returns false if the test ends.
func (p *person) does(step func(id string) error) bool {
	if pauseFor(p.living, 2100*time.Millisecond+time.Duration(p.rng.Int64N(int64(time.Second)))) != nil {
		return false
	}
	if err := step(p.session()); err != nil {
		p.wrong("%s: %v", p.session(), err)
		return false
	}
	return p.asks()
}

// awaits waits until the watch of the person's newest session shows something. It returns false if the test ends.
func (p *person) awaits(what string, is func(*verificationv1.Verification) bool) bool {
	for over := time.Now().Add(rig.Soon); time.Now().Before(over); {
		p.mu.Lock()
		v := p.shown[p.chain[len(p.chain)-1]]
		p.mu.Unlock()
		if v != nil && is(v) {
			return true
		}
		if pauseFor(p.living, 20*time.Millisecond) != nil {
			return false
		}
	}
	p.wrong("%s: for %v its watch has not shown that it is %s", p.session(), rig.Soon, what)
	return false
}

// asks calls GetStatus, which must be as new as the watch.
func (p *person) asks() bool {
	id := p.session()
	p.mu.Lock()
	newest := p.shown[id].GetRevision()
	p.mu.Unlock()
	for over := time.Now().Add(rig.Soon); time.Now().Before(over); _ = pauseFor(p.living, 100*time.Millisecond) {
		ctx, cancel := context.WithTimeout(p.watching, 5*time.Second)
		v, err := p.reader.Status(ctx, client.Session(id), client.MinRevision(newest))
		cancel()
		switch {
		case err == nil && v.GetRevision() >= newest:
			return true
		case err == nil:
			p.wrong("%s: GetStatus has revision %d, although its watch showed %d", id, v.GetRevision(), newest)
			return false
		case newest == 0 && errors.Is(err, client.ErrNotFound):
		case !p.repeats("GetStatus", err):
			p.wrong("%s: GetStatus: %v", id, err)
			return false
		}
	}
	return p.living.Err() == nil
}

// retries lets the person try again, by several callers at once, and returns a link, or "" if something is wrong. All must
// be answered with one session.
func (p *person) retries(callers int, options ...client.RetryOption) (link string) {
	from := p.session()
	links := make([]*client.Link, callers)
	var calling sync.WaitGroup
	for n := range links {
		calling.Go(func() {
			var err error
			if links[n], err = p.retry(from, options...); err != nil {
				p.wrong("%s: RetryVerification: %v", from, err)
			}
		})
	}
	calling.Wait()
	newest, err := p.retry(from, options...) // a repeated call: of several links only the newest one works
	if err != nil {
		p.wrong("%s: RetryVerification, repeated: %v", from, err)
		return ""
	}
	to := newest.Verification.GetSessionId()
	for _, other := range links {
		if got := other; got != nil && got.Verification.GetSessionId() != to {
			p.wrong("%s: one call made the session %s, and another one %s", from, got.Verification.GetSessionId(), to)
		}
	}
	p.mu.Lock()
	p.granted++
	p.mu.Unlock()
	if to != from {
		p.follow(to)
	}
	return newest.URL.Reveal()
}

// retry calls RetryVerification until a server answers.
func (p *person) retry(id string, options ...client.RetryOption) (link *client.Link, err error) {
	for over := time.Now().Add(2 * rig.Soon); time.Now().Before(over); _ = pauseFor(p.watching, 200*time.Millisecond) {
		ctx, cancel := context.WithTimeout(p.watching, 15*time.Second)
		link, err = p.caller.Retry(ctx, id, options...)
		cancel()
		if !p.repeats("RetryVerification", err) {
			return link, err
		}
	}
	return nil, err
}

// uses submits an outcome on the hosted page of a link.
func (p *person) uses(link, outcome string) bool {
	if link == "" {
		return false
	}
	return p.does(func(string) error {
		response, err := p.browser.PostForm(link, url.Values{"outcome": {outcome}})
		if err != nil {
			return err
		}
		text, err := rig.ReadAll(response)
		if err == nil && response.StatusCode != http.StatusSeeOther {
			err = fmt.Errorf("the hosted page answers %s %q", response.Status, text)
		}
		return err
	}) && p.does(p.stripe.FinishProcessing)
}
