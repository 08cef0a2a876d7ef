package rig

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CPU returns the processor time that the process has used so far.
func (p *Process) CPU() time.Duration {
	p.T.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
	if err != nil {
		p.T.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second: proc(5)
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			p.T.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// RedisCPU returns the processor time that the server's Redis has used so far, or 0 if Redis is not set.
func (p *Process) RedisCPU() time.Duration {
	p.T.Helper()
	var seconds float64
	if p.Redis != nil {
		for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
			n, err := strconv.ParseFloat(p.Redis.Info(name), 64)
			if err != nil {
				p.T.Fatal(err)
			}
			seconds += n
		}
	}
	return time.Duration(seconds * float64(time.Second))
}

// AwaitLists waits until the server has looked at every session, for the lists. A server does so in the background when it first
// uses a Redis, and measurements at the same time would be slower.
func (p *Process) AwaitLists() {
	p.T.Helper()
	for over := time.Now().Add(10 * time.Minute); ; {
		if strings.Contains(p.Stderr.String(), "lists: all sessions were checked") {
			return
		}
		select {
		case <-p.Ended:
			p.T.Fatal("the process has ended")
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(over) {
			p.T.Fatal("the server has not looked at every session")
		}
	}
}

// MemoryUse is the memory of a server, in bytes.
type MemoryUse struct {
	Used     int // heap and stacks, by its metrics
	Stacks   int // the part of used for stacks
	Resident int // by the kernel, with the memory of the race detector
}

func (m MemoryUse) String() string {
	return fmt.Sprintf("%d MiB used, %d of them for stacks, %d MiB resident", m.Used>>20, m.Stacks>>20, m.Resident>>20)
}

// MemoryUntil measures every 100 ms until a time, and returns the greatest values.
func (p *Process) MemoryUntil(client *http.Client, over time.Time) (most MemoryUse) {
	p.T.Helper()
	watching := time.NewTicker(100 * time.Millisecond)
	defer watching.Stop()
	for ; time.Now().Before(over); <-watching.C {
		now := p.memory(client)
		most = MemoryUse{max(most.Used, now.Used), max(most.Stacks, now.Stacks), max(most.Resident, now.Resident)}
	}
	return most
}

// MemoryLeft returns the memory after a garbage collection.
func (p *Process) MemoryLeft(client *http.Client) MemoryUse {
	p.T.Helper()
	response, err := client.Get(p.Admin + "/debug/pprof/heap?gc=1")
	if err != nil {
		p.T.Fatal(err)
	}
	if _, err := ReadAll(response); err != nil {
		p.T.Fatal(err)
	}
	return p.memory(client)
}

func (p *Process) memory(client *http.Client) (m MemoryUse) {
	p.T.Helper()
	response, err := client.Get(p.Admin + "/metrics")
	if err != nil {
		p.T.Fatal(err)
	}
	text, err := ReadAll(response)
	if err != nil {
		p.T.Fatal(err)
	}
	value := func(name string) int {
		_, rest, _ := strings.Cut(text, "\n"+name+" ")
		line, _, found := strings.Cut(rest, "\n")
		v, err := strconv.ParseFloat(line, 64)
		if !found || err != nil {
			p.T.Fatalf("no metric %s: %v", name, err)
		}
		return int(v)
	}
	m.Stacks = value("go_memstats_stack_inuse_bytes")
	m.Used = m.Stacks + value("go_memstats_heap_inuse_bytes")
	m.Resident = value("process_resident_memory_bytes")
	return m
}

// Quantiles returns the median, the 99th percentile and the greatest of some durations, as a text. It sorts all.
func Quantiles(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	at := func(q float64) time.Duration {
		return all[min(len(all)-1, int(q*float64(len(all))))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, max %v", at(0.5), at(0.99), at(1))
}
