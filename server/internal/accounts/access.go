package accounts

import (
	"context"
	"crypto/rand"
	"time"
)

// Rests reports whether nothing must be requested for the account now. After the rest it returns false to a caller that can
// send the probe, which must call Probe just before the request, and true to others. It returns false if the store cannot be
// read and this process knows of no refusal.
func (d *Directory) Rests(ctx context.Context, account string, canProbe bool) bool {
	e := d.read(ctx, account, freshFor)
	return d.refused(e, account) && (!canProbe || d.inRest(e))
}

// Probe reports whether a request for the account can be sent. After a rest it returns true once in probeFor, for the request
// that finds out whether Stripe still refuses.
func (d *Directory) Probe(ctx context.Context, account string) bool {
	if e := d.read(ctx, account, freshFor); !d.refused(e, account) {
		return true
	}
	if e := d.read(ctx, account, 0); !d.refused(e, account) || d.inRest(e) {
		return !d.refused(e, account)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	taken, err := d.config.Store.Lease(ctx, leaseProbe+account, rand.Text(), probeFor)
	return err == nil && taken
}

// refused reports whether Stripe refused the account under its present key.
func (d *Directory) refused(e entry, account string) bool {
	return e.until != 0 && e.keyID == d.config.KeyID(account)
}

// inRest reports whether the rest still lasts. One that is longer than restFor by more than maxSkew comes from a clock that was
// wrong.
func (d *Directory) inRest(e entry) bool {
	now := d.config.Clock().Unix()
	return now < e.until && e.until-now <= int64((restFor+maxSkew).Seconds())
}

// Refused stores that Stripe refused a request for the account that began at begin with the key of keyID. The account rests
// from then on, unless Stripe has answered a later request. It returns false, and stores nothing, for an account that neither
// an event nor Config.Known knows: a caller can name any number of accounts. Such an account rests for freshFor at most, in this
// process.
func (d *Directory) Refused(ctx context.Context, account string, begin time.Time, keyID int64) (known bool) {
	known = d.known(ctx, account)
	err := d.rest(ctx, account, begin.Unix(), keyID, known)
	d.warn(account, err)
	return known
}

// known reports whether the access to an account is stored. It returns true if Config.Known fails.
func (d *Directory) known(ctx context.Context, account string) bool {
	if d.cached(account).byContext {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	known, err := d.config.Known(ctx, account)
	return known || err != nil
}

// Revoked stores that the account revoked its access at a Unix second, by Stripe's clock. It ignores a revocation that is older
// than a day, or older than the last answer of Stripe about the account. It returns the errors of the store.
func (d *Directory) Revoked(ctx context.Context, account string, second int64) error {
	now := d.config.Clock().Unix()
	if now-second > int64(restFor.Seconds()) {
		return nil
	}
	if _, err := d.load(ctx, account, freshFor); err != nil {
		return err
	}
	return d.rest(ctx, account, min(second, now), d.config.KeyID(account), true)
}

// rest begins a rest at a Unix second, and stores it if stored is true.
func (d *Directory) rest(ctx context.Context, account string, second, keyID int64, stored bool) error {
	begun := false
	d.change(account, func(e *entry) {
		if begun = second >= e.answered; !begun {
			return
		}
		until := second + int64(restFor.Seconds())
		if e.keyID == keyID && d.inRest(*e) {
			until = max(until, e.until)
		}
		e.until, e.keyID, e.unstored = until, keyID, stored
		e.changes++
	})
	if !begun || !stored {
		return nil
	}
	return d.save(ctx, account)
}

// Answered stores that Stripe answered a request for the account that began at begin with the key of keyID. That ends a rest
// that began before the request and was of this key.
func (d *Directory) Answered(ctx context.Context, account string, begin time.Time, keyID int64) {
	ended := false
	d.change(account, func(e *entry) {
		e.answered = max(e.answered, begin.Unix())
		if ended = e.until != 0 && e.keyID == keyID && begin.Unix() > e.since(); ended {
			e.until, e.keyID, e.unstored = 0, 0, true
			e.changes++
		}
	})
	if ended {
		d.warn(account, d.save(ctx, account))
	}
}

// Authorized stores that the account gave access at a Unix second, by Stripe's clock. That ends a rest that began before. It
// returns the errors of the store.
func (d *Directory) Authorized(ctx context.Context, account string, second int64) error {
	if _, err := d.load(ctx, account, freshFor); err != nil {
		return err
	}
	second = min(second, d.config.Clock().Unix())
	ended := false
	d.change(account, func(e *entry) {
		if ended = second > max(e.answered, e.since()); ended {
			e.until, e.keyID, e.answered, e.unstored = 0, 0, second, true
			e.changes++
		}
	})
	if !ended {
		return nil
	}
	return d.save(ctx, account)
}

// warn logs that only this process knows something, if err is not nil.
func (d *Directory) warn(account string, err error) {
	if err != nil {
		d.config.Logger.Warn("accounts: the access to an account could not be stored yet for the other replicas", "account", account, "error", err)
	}
}
