package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// randomScript returns the n-th random script of a seed. It is the same in each run of one version of the kit.
func randomScript(seed uint64, n int) script {
	g := &generator{random: rand.New(rand.NewPCG(seed, uint64(n))), model: newModel()}
	g.begin()
	for range 3 + g.random.IntN(10) {
		g.more()
	}
	s, err := parse(fmt.Sprintf("%d of seed %d", n, seed), strings.Join(g.texts, "; "))
	if err != nil {
		panic(err) // add has parsed each step
	}
	return s
}

// generator adds random steps that the model allows.
type generator struct {
	random *rand.Rand
	model  *model
	texts  []string
}

// add adds a step, if the model allows it.
func (g *generator) add(text string) bool {
	st, err := parseStep(text)
	if err != nil {
		panic(err) // of a text in this file
	}
	if g.model.apply(st) != nil {
		return false
	}
	g.texts = append(g.texts, text)
	return true
}

func (g *generator) one(of ...string) string { return of[g.random.IntN(len(of))] }

// chance reports true once in n times.
func (g *generator) chance(n int) bool { return g.random.IntN(n) == 0 }

// begin adds the connection and the first watch.
func (g *generator) begin() {
	if g.chance(4) {
		g.add("connect two")
	}
	if g.chance(8) {
		g.add(g.one("http 503", "http 502 2", "http 200", "refuse UNAVAILABLE STORE_UNAVAILABLE 2", "refuse INTERNAL", "away"))
	}
	g.watch()
}

func (g *generator) watch() bool {
	kind := g.one(bySession, bySession, bySession, byReference, byReference, ofAll, byConsumer)
	if g.chance(10) && kind == bySession {
		return g.add("watch session settled")
	}
	return g.add("watch " + kind)
}

// more adds one step. It tries until the model allows one.
func (g *generator) more() {
	for range 100 {
		if g.add(g.step()) {
			return
		}
	}
}

// step returns a random step, which the model might refuse.
func (g *generator) step() string {
	switch pick := g.random.IntN(100); {
	case pick < 18:
		return fmt.Sprintf("change %d", 1+g.random.IntN(4))
	case pick < 32:
		return fmt.Sprintf("cut %s %s", g.one("before", "in", "after"), g.fraction())
	case pick < 44:
		return "end " + g.passing() + " " + g.one("", "", g.fraction())
	case pick < 50:
		return fmt.Sprintf("refuse %s %d", g.passing(), 1+g.random.IntN(3))
	case pick < 55:
		return fmt.Sprintf("http %s %d", g.one("404", "503", "502", "200", "401", "403", "429"), 1+g.random.IntN(3))
	case pick < 60:
		return "drain"
	case pick < 72:
		return g.outage()
	case pick < 76:
		return g.one("die 1", "die 2", "revive 1", "revive 2")
	case pick < 83:
		return g.one("pause ", "resume ", "resume ") + g.one(kinds...)
	case pick < 87:
		return g.one("watch ", "watch ", "again ", "stop ") + g.one(kinds...)
	case pick < 90:
		return "newer"
	case pick < 92:
		return "end OUT_OF_RANGE RESUME_TOKEN_EXPIRED " + g.one("", g.fraction())
	case pick < 94:
		return g.one("repeat", "status", "retry")
	case pick < 96:
		return g.one("settle", "redact", "change vs_1")
	case pick < 98:
		return g.final()
	case pick < 99:
		return g.one("silence", "silence", "hang", "quiet", "drain", "drain")
	}
	return "forget"
}

func (g *generator) fraction() string {
	of := 1 + g.random.IntN(4)
	return fmt.Sprintf("%d/%d", 1+g.random.IntN(of), of)
}

// passing returns an error that ends no watch that has begun.
func (g *generator) passing() string {
	return g.one("UNAVAILABLE DRAINING 1ms", "UNAVAILABLE", "INTERNAL", "INTERNAL INTERNAL", "ABORTED CONFLICT 1ms", "ABORTED CONFLICT 20ms",
		"UNKNOWN", "CANCELLED", "RESOURCE_EXHAUSTED STREAM_STALLED", "UNAUTHENTICATED", "UNIMPLEMENTED", "NOT_FOUND", "PERMISSION_DENIED",
		"DEADLINE_EXCEEDED", "DATA_LOSS", "RESOURCE_EXHAUSTED TOO_MANY_STREAMS", "UNAUTHENTICATED UNAUTHENTICATED foreign",
		"NOT_FOUND SESSION_NOT_FOUND foreign", "ABORTED CONSUMER_NOT_FOUND foreign")
}

// final returns a step that ends all watches, or the next one.
func (g *generator) final() string {
	return g.one("end ", "refuse ") + g.one("UNAUTHENTICATED UNAUTHENTICATED", "PERMISSION_DENIED PERMISSION_DENIED", "NOT_FOUND SESSION_NOT_FOUND",
		"INVALID_ARGUMENT INVALID_REQUEST")
}

// outage returns the beginning of an outage, or what can be done in one.
func (g *generator) outage() string {
	if !g.model.away {
		return "away"
	}
	return g.one("back", "back", "change 2", "trim", "newer")
}
