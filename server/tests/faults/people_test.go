//go:build faults

package faults

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/tests/rig"
)

// applicant is a person with a session, and the backend of the session.
type applicant struct {
	*faultRig
	rng       *rand.Rand
	reference string
	id        string
	replacing bool // a replacement was asked for, and nobody has answered

	mu   sync.Mutex
	seen int32 // the greatest revision of id that the backend has seen
}

// live is from the session's creation until nothing more is expected, or the person has enough.
func (p *applicant) live() {
	session, err := p.sim.Create(stripesim.NewSession{ClientReferenceID: p.reference, Metadata: map[string]string{"case": "17"}})
	if err != nil {
		p.t.Error(err)
		return
	}
	p.id = session.ID
	ctx, leave := context.WithCancel(p.watching)
	// The backend keeps watching for a while: late changes must be shown too.
	defer func() { time.AfterFunc(time.Duration(1+p.rng.IntN(8))*time.Second, leave) }()
	defer p.insist()
	p.watch(ctx)
	for range 12 {
		if p.thinks() != nil {
			return
		}
		goesOn, err := p.act()
		if err != nil {
			p.t.Errorf("%s: %v", p.id, err)
		}
		for range p.rng.IntN(3) {
			p.ask()
		}
		if !goesOn {
			return
		}
	}
}

// insist asks until an interrupted replacement is known. A caller that gives up leaves a successor at Stripe, and the
// record that would name its predecessor does not exist.
func (p *applicant) insist() {
	if !p.replacing {
		return
	}
	<-p.living.Done()
	for deadline := time.Now().Add(settleWithin); p.replacing && time.Now().Before(deadline); {
		p.retry(p.watching, true)
	}
}

// thinks is the pause between two deeds: two seconds or more.
func (p *applicant) thinks() error {
	return pause(p.living, 2100*time.Millisecond+time.Duration(p.rng.Int64N(int64(2*time.Second))))
}

// act makes the next step of the session. goesOn says whether more steps follow.
func (p *applicant) act() (goesOn bool, err error) {
	session, _ := p.sim.Session(p.id)
	chance := p.rng.IntN(100)
	if p.rng.IntN(4) == 0 {
		p.retryMeanwhile(1) // what Stripe answers may be overtaken by what happens now
	}
	switch {
	case p.replacing:
		p.retry(p.living, true)
		return true, nil
	case session.Redaction == "processing":
		return false, p.sim.FinishRedaction(p.id)
	case session.Redaction != "":
		return false, nil
	case session.Status == "processing":
		return true, p.sim.FinishProcessing(p.id)
	case session.Status == "canceled" && chance < 60:
		p.retry(p.living, true)
		return true, nil
	case session.Status == "verified" && chance < 20:
		return true, p.sim.Override(p.id, "requires_input", "document_unverified_other")
	case session.Status == "verified" && chance < 35, session.Status == "canceled" && chance < 75:
		return true, p.sim.Redact(p.id)
	case session.Status != "requires_input":
		return false, nil
	case chance < 60:
		p.retryMeanwhile(p.rng.IntN(3))
		p.submit(p.retry(p.living, false))
		return true, nil
	case chance < 80:
		p.submit("")
		return true, nil
	case chance < 88:
		return true, p.sim.Cancel(p.id)
	case chance < 92:
		return true, p.sim.Submit(p.id, stripesim.OutcomeAbandoned)
	case chance < 94:
		return true, p.sim.Redact(p.id)
	case chance < 96:
		return true, p.sim.Override(p.id, "verified", "")
	}
	return false, nil
}

// submit hands documents in, with a link or without, and often waits for the outcome.
func (p *applicant) submit(link string) {
	outcome := []string{"document_expired", "selfie_face_mismatch", "document_unverified_other", stripesim.OutcomeVerified}[p.rng.IntN(4)]
	if link == "" {
		_ = p.sim.Submit(p.id, outcome) // refused where another deed was faster, such as a canceling reviewer
	} else if response, err := p.balancer.client.PostForm(link, url.Values{"outcome": {outcome}}); err == nil {
		_, _ = rig.ReadAll(response)
		if session, _ := p.sim.Session(p.id); response.StatusCode != http.StatusSeeOther && session.Status == "requires_input" {
			p.t.Errorf("%s: a fresh link is answered with %s", p.id, response.Status)
		}
	}
	if p.rng.IntN(5) == 0 {
		return // it takes Stripe until the next deed
	}
	if pause(p.living, time.Duration(p.rng.Int64N(int64(2*time.Second)))) == nil {
		_ = p.sim.FinishProcessing(p.id)
		_ = p.thinks()
	}
}

// goesOnWith continues with the successor of a closed session.
func (p *applicant) goesOnWith(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id, p.seen = id, 0
}

// saw stores the newest revision, so that later reads are not older.
func (p *applicant) saw(v *verificationv1.Verification) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v.GetSessionId() == p.id {
		p.seen = max(p.seen, v.GetRevision())
	}
}
