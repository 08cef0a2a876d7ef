package main

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// memory is what a server takes, in bytes.
type memory struct {
	used     int // heap and stacks, as its metrics say
	stacks   int // of these
	resident int // as the kernel says; the race detector's own included
}

func (m memory) String() string {
	return fmt.Sprintf("%d MiB used, %d of them for stacks, %d MiB resident", m.used>>20, m.stacks>>20, m.resident>>20)
}

// memoryUntil looks again and again, and returns the most that it saw.
func (p *process) memoryUntil(client *http.Client, over time.Time) (most memory) {
	p.t.Helper()
	watching := time.NewTicker(100 * time.Millisecond)
	defer watching.Stop()
	for ; time.Now().Before(over); <-watching.C {
		now := p.memory(client)
		most = memory{max(most.used, now.used), max(most.stacks, now.stacks), max(most.resident, now.resident)}
	}
	return most
}

// memoryLeft is the memory after a collection.
func (p *process) memoryLeft(client *http.Client) memory {
	p.t.Helper()
	response, err := client.Get(p.admin + "/debug/pprof/heap?gc=1")
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := readAll(response); err != nil {
		p.t.Fatal(err)
	}
	return p.memory(client)
}

func (p *process) memory(client *http.Client) (m memory) {
	p.t.Helper()
	response, err := client.Get(p.admin + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := readAll(response)
	if err != nil {
		p.t.Fatal(err)
	}
	value := func(name string) int {
		_, rest, _ := strings.Cut(text, "\n"+name+" ")
		line, _, found := strings.Cut(rest, "\n")
		v, err := strconv.ParseFloat(line, 64)
		if !found || err != nil {
			p.t.Fatalf("no metric %s: %v", name, err)
		}
		return int(v)
	}
	m.stacks = value("go_memstats_stack_inuse_bytes")
	m.used = m.stacks + value("go_memstats_heap_inuse_bytes")
	m.resident = value("process_resident_memory_bytes")
	return m
}

// quantiles are the median, the 99th percentile and the greatest of some durations.
func quantiles(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	at := func(q float64) time.Duration {
		return all[min(len(all)-1, int(q*float64(len(all))))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, max %v", at(0.5), at(0.99), at(1))
}
