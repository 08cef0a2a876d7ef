package fair

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/tests/rig"
)

// series are the calls of one kind.
type series struct {
	mu       sync.Mutex
	took     []time.Duration
	failures []string
	late     int // failures that are the end of a deadline: the machine, or a queue
}

func (s *series) add(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			s.late++
		}
		s.failures = append(s.failures, fmt.Sprintf("after %v: %v", took.Round(time.Millisecond), err))
		return
	}
	s.took = append(s.took, took)
}

func (s *series) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took, s.failures, s.late = nil, nil, 0
}

func (s *series) calls() int { return len(s.took) + len(s.failures) }

// quantile is 0 where no call succeeded.
func (s *series) quantile(q float64) time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.took))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// measurement holds the calls of others during one run.
type measurement struct {
	series             map[string]*series
	took               time.Duration
	reads, othersReads int
	links              int // that the attacker got from the BFF
}

// measure lets others call for a while, with an attack or without, and asserts that they were served.
func (p *fairRig) measure(t *testing.T, atLeast time.Duration, attack *row) *measurement {
	t.Helper()
	count := p.stripe.restart()
	p.stripe.webhooks.reset()
	stop := make(chan struct{})
	measured := make(chan *measurement)
	go func() { measured <- p.probe(stop) }()
	var attacker *rig.Process
	if attack != nil {
		attacker = p.attack(t, attack.name)
	}
	over := time.NewTimer(atLeast)
	defer over.Stop()
	<-over.C
	close(stop)
	m := await.One(t, measured)
	m.reads, m.othersReads = count()
	if attacker == nil {
		check(t, m, nil)
		return m
	}
	finish(attacker)
	counted := strings.TrimSpace(strings.TrimPrefix(attacker.Stdout.String(), begunLine))
	t.Logf("%v: the attacker counted %s", attack, counted)
	counts := map[string]int{}
	if err := json.Unmarshal([]byte(counted), &counts); err != nil {
		t.Errorf("the attacker's counts: %v", err)
	}
	m.links = counts[gotALink]
	check(t, m, attack)
	return m
}

// attack starts an attacker and waits until it has its hold.
func (p *fairRig) attack(t *testing.T, name string) *rig.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := []string{self}
	switch {
	case *apart != "":
		command = []string{"taskset", "-c", *apart, self}
	case *runFor > 0:
		// In the short form other tests run at the same time, and the attack would not begin beside them.
		command = []string{"nice", "-n", "19", self}
	}
	a := begin(t, []string{envIsAttacker + "=1"}, command[0], command[1:]...)
	target := p.target
	target.Attack = name
	line, err := json.Marshal(target)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Stdin.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	a.AwaitWithin(soon, "the attack "+name+" begins", func() bool { return strings.HasPrefix(a.Stdout.String(), begunLine) })
	return a
}
