package main

import (
	"fmt"
	"strconv"
	"strings"
)

// choose returns the scripts to play: the one that only names, or else all written ones and so many random ones.
func choose(only string, seed uint64, random int) ([]script, error) {
	scripts := writtenScripts()
	if only == "" {
		for n := range random {
			scripts = append(scripts, randomScript(seed, n))
		}
		return scripts, nil
	}
	if n, err := strconv.Atoi(only); err == nil {
		return []script{randomScript(seed, n)}, nil
	}
	for _, s := range scripts {
		if s.name == only {
			return []script{s}, nil
		}
	}
	if !strings.Contains(only, " ") {
		return nil, fmt.Errorf("there is no script %q: -scripts lists the names", only)
	}
	s, err := parse("of the command line", only)
	return []script{s}, err
}
