package checker

import (
	"cmp"
	"slices"
)

// concerns reports whether a loss affects a session. If s is nil, it reports whether the loss affects any session.
func (e *era) concerns(s *session) bool { return s == nil || e.Affects == nil || e.Affects(s.id) }

// over returns the sequence number at which the loss ended. It is greater than all others if the loss lasts.
func (e *era) over() uint64 {
	if e.end.seq == 0 {
		return ^uint64(0)
	}
	return e.end.seq
}

// between reports whether a loss that affects the session lasted at some time between two moments, in either order. Such a
// loss explains a difference between them.
func (c *checking) between(s *session, a, b moment) bool {
	return slices.ContainsFunc(c.eras, func(e *era) bool {
		return e.begin.seq <= max(a.seq, b.seq) && e.over() >= min(a.seq, b.seq) && e.concerns(s)
	})
}

// life returns the number of a session's era at a moment, from 0. It returns -1 while a loss lasts.
func (c *checking) life(s *session, at moment) int {
	life := 0
	for _, e := range c.eras {
		switch {
		case e.begin.seq > at.seq || !e.concerns(s):
		case e.over() > at.seq:
			return -1
		default:
			life++
		}
	}
	return life
}

// keeps reports whether a revision is sure to have survived a loss.
func (e *era) keeps(f *fact) bool { return e.Kept != nil && f.revision <= e.Kept(f.session.id) }

// lost reports whether a loss between two moments can have taken a revision.
func (c *checking) lost(f *fact, a, b moment) bool {
	return slices.ContainsFunc(c.eras, func(e *era) bool {
		return e.begin.seq <= max(a.seq, b.seq) && e.over() >= min(a.seq, b.seq) && e.concerns(f.session) && !e.keeps(f)
	})
}

// livesOf reports, for each era of its session, whether a fact belongs to it. A fact belongs to the eras in which it was
// seen, and to each later one up to the first loss that it is not known to have survived.
func (c *checking) livesOf(f *fact) []bool {
	if lives, known := c.factLives[f]; known {
		return lives
	}
	eras := c.concerning(f.session)
	lives := make([]bool, len(eras)+1)
	sightings := f.sightings()
	for life, e := range eras {
		for len(sightings) > 0 && sightings[0].seq < e.begin.seq {
			lives[life], sightings = true, sightings[1:]
		}
		for len(sightings) > 0 && sightings[0].seq < e.over() {
			lives[life], sightings = lives[life] || e.keeps(f), sightings[1:]
		}
		lives[life+1] = lives[life] && e.keeps(f)
	}
	lives[len(eras)] = lives[len(eras)] || len(sightings) > 0
	c.factLives[f] = lives
	return lives
}

// concerning returns the losses that affect a session, in order. They do not overlap.
func (c *checking) concerning(s *session) []*era {
	if eras, known := c.sessionEras[s]; known {
		return eras
	}
	eras := slices.DeleteFunc(slices.Clone(c.eras), func(e *era) bool { return !e.concerns(s) })
	c.sessionEras[s] = eras
	return eras
}

// lives returns the facts of a session for each era, by revision.
func (c *checking) lives(s *session) [][]*fact {
	var lives [][]*fact
	for _, f := range s.facts {
		for life, in := range c.livesOf(f) {
			if len(lives) <= life {
				lives = append(lives, nil)
			}
			if in {
				lives[life] = append(lives[life], f)
			}
		}
	}
	for _, life := range lives {
		slices.SortStableFunc(life, func(a, b *fact) int { return cmp.Compare(a.revision, b.revision) })
	}
	return slices.DeleteFunc(lives, func(life []*fact) bool { return len(life) == 0 })
}

// overwritten returns whether a loss took a revision that a watch had shown. The watch must then end with OUT_OF_RANGE and must
// not continue. It is certain for a revision that was shown before a loss that did not keep it, and for one that other clients
// see with another content after a loss.
func (c *checking) overwritten(f *fact, shown, now moment) bool {
	for _, e := range c.eras {
		if e.concerns(f.session) && e.Kept != nil && shown.seq < e.begin.seq && e.over() < now.seq && !e.keeps(f) {
			return true
		}
	}
	life := c.life(f.session, now)
	if life < 0 || !c.lost(f, shown, now) || c.livesOf(f)[life] {
		return false
	}
	return slices.ContainsFunc(f.session.facts, func(other *fact) bool {
		return other.revision == f.revision && c.livesOf(other)[life]
	})
}
