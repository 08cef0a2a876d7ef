//go:build load

package load

import (
	"context"
	"errors"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/tests/rig"
)

// lifeKind is one way in which a person's verification goes. live returns false if it did not come to its end.
type lifeKind struct {
	name string
	live func(p *person) bool
}

var lifeKinds = []lifeKind{
	{"fails and tries again", func(p *person) bool {
		return p.fails("document_expired") && p.uses(p.retries(2), stripesim.OutcomeVerified) && p.isVerified()
	}},
	{"is replaced", func(p *person) bool {
		return p.isCanceled() && p.uses(p.retries(3, client.ReplaceClosed("")), stripesim.OutcomeVerified) && p.isVerified()
	}},
	{"is helped by an operator", func(p *person) bool {
		return p.fails("under_supported_age") && p.isDenied(verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE) &&
			p.isAllowed() && p.uses(p.retries(2), stripesim.OutcomeVerified) && p.isVerified()
	}},
	{"is redacted", func(p *person) bool {
		return p.submits(stripesim.OutcomeVerified) && p.isVerified() && p.does(p.stripe.Redact) && p.does(p.stripe.FinishRedaction) &&
			p.awaits("redacted", func(v *verificationv1.Verification) bool {
				return v.GetRedaction() == verificationv1.Redaction_REDACTION_REDACTED
			})
	}},
	{"is replaced twice", func(p *person) bool {
		return p.isCanceled() && p.retries(2, client.ReplaceClosed("")) != "" &&
			p.isCanceled() && p.retries(2, client.ReplaceClosed("")) != "" &&
			p.fails("selfie_face_mismatch") && p.isDenied(verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED)
	}},
	{"is overridden by a reviewer", func(p *person) bool {
		return p.submits(stripesim.OutcomeVerified) && p.isVerified() &&
			p.does(func(id string) error { return p.stripe.Override(id, "requires_input", "document_unverified_other") }) &&
			p.isFailed() && p.retries(1) != "" &&
			p.does(func(id string) error { return p.stripe.Override(id, "verified", "") }) && p.isVerified()
	}},
}

func (p *person) submits(outcome string) bool {
	return p.does(func(id string) error { return p.stripe.Submit(id, outcome) }) && p.does(p.stripe.FinishProcessing)
}

func (p *person) fails(code string) bool { return p.submits(code) && p.isFailed() }

func (p *person) isFailed() bool {
	return p.awaits("failed", func(v *verificationv1.Verification) bool {
		return v.GetStatus() == verificationv1.Status_STATUS_REQUIRES_INPUT && v.GetLastError() != nil
	})
}

func (p *person) isVerified() bool {
	return p.awaits("verified", func(v *verificationv1.Verification) bool {
		return v.GetStatus() == verificationv1.Status_STATUS_VERIFIED
	})
}

func (p *person) isCanceled() bool {
	return p.does(p.stripe.Cancel) && p.awaits("canceled", func(v *verificationv1.Verification) bool {
		return v.GetStatus() == verificationv1.Status_STATUS_CANCELED
	})
}

// isDenied tries again, which must be denied.
func (p *person) isDenied(denial verificationv1.RetryDenial) bool {
	_, err := p.retry(p.session())
	var denied *client.RetryDeniedError
	if !errors.As(err, &denied) || denied.Denial != denial {
		p.wrong("%s: a retry is answered with %v; want %v", p.session(), err, denial)
		return false
	}
	p.calls.add("RetryVerification denied " + denial.String())
	return true
}

// isAllowed has an operator allow one more try.
func (p *person) isAllowed() bool {
	id := p.session()
	p.mu.Lock()
	seen := p.shown[id].GetOutcomeRevision()
	p.mu.Unlock()
	for over := time.Now().Add(2 * rig.Soon); time.Now().Before(over); _ = pauseFor(p.watching, 200*time.Millisecond) {
		ctx, cancel := context.WithTimeout(p.watching, 10*time.Second)
		v, err := p.caller.AllowRetry(ctx, id, client.SeenOutcome(seen))
		cancel()
		switch {
		case err == nil && v.GetRetry().GetOverrideOpen():
			p.calls.add("AllowRetry allowed")
			return p.awaits("allowed one more try", func(v *verificationv1.Verification) bool { return v.GetRetry().GetOverrideOpen() })
		case err == nil:
			p.wrong("%s: an operator allowed a retry, and the answer says %v", id, v.GetRetry())
			return false
		case !p.repeats("AllowRetry", err):
			p.wrong("%s: AllowRetry: %v", id, err)
			return false
		}
	}
	return false
}
