package mailer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/tests/rig"
)

// retryable are failures after which a person can try again; final are some after which nobody can.
var (
	retryable = []string{"document_expired", "selfie_face_mismatch", "document_unverified_other"}
	final     = []string{"consent_declined", "under_supported_age"}
)

// maxRetries is the servers' setting. Its default is the same.
const maxRetries = 2

// person lives one life at Stripe, and reads the mails that come.
type person struct {
	*world
	rng     *rand.Rand
	address string
	id      string // of the session

	accepted []event // in the order in which the servers have taken them, each once
	hasty    bool    // the newest outcome was erased at once: its mail is optional
	resolved bool    // by an operator
	link     string  // of an operator, not used yet
}

// patience bounds the wait for a mail: Redis can fail over meanwhile, and a lease can have to end.
const patience = 90 * time.Second

// live lives a random life. Each has an outcome that gets a mail.
func (p *person) live(ctx context.Context) error {
	p.stripeClock.tick()
	session, err := p.stripe.Create(stripesim.NewSession{ClientReferenceID: p.address[:len(p.address)-len(domain)]})
	if err != nil {
		return err
	}
	p.id = session.ID
	if err := p.deliver(ctx, 1); err != nil {
		return err
	}
	switch p.rng.IntN(10) {
	case 0:
		err = p.lateFailure(ctx)
	case 1:
		err = p.fail(ctx, final[p.rng.IntN(len(final))])
	case 2:
		err = inOrder(
			func() error { return p.abandon(ctx) },
			func() error { return p.fail(ctx, p.someFailure()) },
			func() error { return p.cancel(ctx) },
		)
	case 3: // leaves the page after a failure that needs help, before the mail or after
		err = inOrder(
			func() error { return p.submit(ctx, final[p.rng.IntN(len(final))]) },
			func() error { return p.abandon(ctx) },
			func() error { return p.awaitMails(ctx) },
		)
	case 4:
		err = p.helped(ctx)
	case 5:
		err = p.dealtWith(ctx)
	default:
		err = p.tries(ctx)
	}
	if err != nil || p.erased() || p.rng.IntN(3) > 0 {
		return err
	}
	return p.erase(ctx)
}

// inOrder takes steps until one of them fails.
func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (p *person) erased() bool {
	return slices.ContainsFunc(p.accepted, func(e event) bool { return e.erased })
}

func (p *person) someFailure() string { return retryable[p.rng.IntN(len(retryable))] }

// tries fails up to three times, with the link of each mail, and is verified unless the retries are used up. A reviewer can override it,
// after which the person tries once more or not.
func (p *person) tries(ctx context.Context) error {
	failures := p.rng.IntN(maxRetries + 2)
	for range failures {
		if err := p.fail(ctx, p.someFailure()); err != nil {
			return err
		}
	}
	if failures > maxRetries { // no link is left
		if p.rng.IntN(2) == 0 {
			return nil
		}
		if err := p.allow(ctx); err != nil {
			return err
		}
	}
	if err := p.submit(ctx, stripesim.OutcomeVerified); err != nil {
		return err
	}
	switch p.rng.IntN(4) {
	case 0: // erased before the mail is sent, or after
		p.hasty = true
		return p.erase(ctx)
	case 1:
		if err := p.awaitMails(ctx); err != nil {
			return err
		}
		return p.overridden(ctx)
	}
	return p.awaitMails(ctx)
}

// fail submits something that fails, and waits for the mail.
func (p *person) fail(ctx context.Context, code string) error {
	if err := p.submit(ctx, code); err != nil {
		return err
	}
	return p.awaitMails(ctx)
}

// overridden is a reviewer's: verified becomes requires_input.
func (p *person) overridden(ctx context.Context) error {
	p.stripeClock.tick()
	if err := p.stripe.Override(p.id, "requires_input", p.someFailure()); err != nil {
		return err
	}
	if err := p.deliver(ctx, 1); err != nil {
		return err
	}
	return p.awaitMails(ctx)
}

// lateFailure fails and submits again on the page, before any mail. The event of the failure comes last: it is no outcome any more.
func (p *person) lateFailure(ctx context.Context) error {
	if err := p.step(ctx, func() error { return p.stripe.Submit(p.id, p.someFailure()) }); err != nil {
		return err
	}
	p.stripeClock.tick()
	if err := p.stripe.FinishProcessing(p.id); err != nil {
		return err
	}
	late, err := p.take(ctx)
	if err != nil {
		return err
	}
	if err := p.submit(ctx, stripesim.OutcomeVerified); err != nil {
		return err
	}
	if err := p.give(ctx, late); err != nil {
		return err
	}
	return p.awaitMails(ctx)
}

// abandon opens the page and leaves it: no outcome that gets a mail.
func (p *person) abandon(ctx context.Context) error {
	return p.step(ctx, func() error { return p.stripe.Submit(p.id, stripesim.OutcomeAbandoned) })
}

func (p *person) cancel(ctx context.Context) error {
	return p.step(ctx, func() error { return p.stripe.Cancel(p.id) })
}

// erase redacts the session.
func (p *person) erase(ctx context.Context) error {
	p.stripeClock.tick()
	if err := errors.Join(p.stripe.Redact(p.id), p.stripe.FinishRedaction(p.id)); err != nil {
		return err
	}
	for !p.erased() {
		if err := p.deliver(ctx, 1); err != nil {
			return err
		}
	}
	return nil
}

// step makes a step that has one event, and delivers the event.
func (p *person) step(ctx context.Context, do func() error) error {
	p.stripeClock.tick()
	if err := do(); err != nil {
		return err
	}
	return p.deliver(ctx, 1)
}

// submit submits by the link of the newest mail, or on the page that the person came from, and ends the check. One in four times the
// event of the submission comes after that of its end.
func (p *person) submit(ctx context.Context, result string) error {
	p.stripeClock.tick()
	if err := p.hand(ctx, result); err != nil {
		return err
	}
	p.stripeClock.tick()
	if err := p.stripe.FinishProcessing(p.id); err != nil {
		return err
	}
	begun, err := p.take(ctx)
	if err != nil {
		return err
	}
	ended, err := p.take(ctx)
	if err != nil {
		return err
	}
	if begun.created > ended.created {
		begun, ended = ended, begun
	}
	if p.rng.IntN(4) == 0 {
		begun, ended = ended, begun
	}
	if err := p.give(ctx, begun); err != nil {
		return err
	}
	return p.give(ctx, ended)
}

// links are those of the simulated Stripe.
var links = regexp.MustCompile(`http://127\.0\.0\.1:\d+/verify/\S+`)

// hand hands a document in. It uses the link of an operator or, if there is none, that of the newest mail, which works. Without a mail,
// and if the session is resolved, the person is on the page still.
func (p *person) hand(ctx context.Context, result string) error {
	mails, _ := p.inbox.of(p.address)
	link := p.link
	p.link = ""
	switch {
	case link != "":
	case p.resolved, len(mails) == 0:
		return p.stripe.Submit(p.id, result)
	default:
		link = links.FindString(mails[len(mails)-1].text)
	}
	if link == "" {
		return fmt.Errorf("the newest mail has no link: %+v", mails[len(mails)-1])
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return err
	}
	response, err := p.http.Do(request)
	if err != nil {
		return err
	}
	if text, err := rig.ReadAll(response); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("the page of a link answers %s %s, %w", response.Status, text, err)
	}
	response, err = p.http.PostForm(link, url.Values{"outcome": {result}})
	if err != nil {
		return err
	}
	if text, err := rig.ReadAll(response); err != nil || response.StatusCode != http.StatusSeeOther {
		return fmt.Errorf("a link is answered %s %s, %w", response.Status, text, err)
	}
	return nil
}

// take returns the next event of the session.
func (p *person) take(ctx context.Context) (event, error) {
	select {
	case e := <-p.post.of(p.id):
		return e, nil
	case <-ctx.Done():
		return event{}, fmt.Errorf("no event of %s: %w", p.id, ctx.Err())
	}
}

// give delivers an event, one in four times twice.
func (p *person) give(ctx context.Context, e event) error {
	for range 1 + max(0, p.rng.IntN(4)-2) {
		if err := p.webhooks.deliver(ctx, e); err != nil {
			return err
		}
	}
	e.resolved = p.resolved
	p.accepted = append(p.accepted, e)
	return nil
}

// deliver delivers the next events of the session.
func (p *person) deliver(ctx context.Context, n int) error {
	for range n {
		e, err := p.take(ctx)
		if err != nil {
			return err
		}
		if err := p.give(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// due is an outcome that gets a mail.
type due struct {
	outcome
	resolved bool // an operator had resolved the session before
}

// expected returns the outcomes that get a mail. It walks over the events that the servers have: an event counts if its second is the
// newest, and makes an outcome if status, error or report differ from before.
func (p *person) expected() (all []due) {
	var newest int64
	var state outcome
	for _, e := range p.accepted {
		if e.erased {
			break // nothing is mailed from here on
		}
		if e.created <= newest {
			continue
		}
		newest = e.created
		if e.outcome != state && e.outcome.mailed() {
			all = append(all, due{e.outcome, e.resolved})
		}
		state = e.outcome
	}
	return all
}

// awaitMails waits until each outcome so far has its mail.
func (p *person) awaitMails(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	want := len(p.expected())
	for {
		mails, changed := p.inbox.of(p.address)
		if got := len(firsts(mails)); got >= want {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s %s has the mails %+v, wants %+v: %w", p.address, p.id, firsts(mails), p.expected(), ctx.Err())
		}
	}
}

// firsts returns mails without those that came again.
func firsts(mails []received) (all []received) {
	for _, m := range mails {
		if !slices.ContainsFunc(all, func(other received) bool { return other.name == m.name }) {
			all = append(all, m)
		}
	}
	return all
}
