package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// script is a list of steps. Its text repeats it exactly.
type script struct {
	name  string // for people
	steps []step
}

// String returns the text of the script, which parse reads.
func (s script) String() string {
	texts := make([]string, len(s.steps))
	for i, st := range s.steps {
		texts[i] = st.text
	}
	return strings.Join(texts, "; ")
}

// step is one step of a script, such as "end ABORTED CONFLICT 2/3 50ms". README.md lists all of them.
type step struct {
	text   string
	verb   string
	words  []string // in lower case
	code   string   // of gRPC; "": none
	reason string   // of the contract, without its prefix; "": the error does not come from the service
	number int      // 0: none
	at, of int      // "2/3": at the second of three changes; 0/0: none
	wait   time.Duration
}

var fraction = regexp.MustCompile(`^(\d+)/(\d+)$`)

// parse reads the text of a script. Steps are separated by ";".
func parse(name, text string) (script, error) {
	s := script{name: name}
	for part := range strings.SplitSeq(text, ";") {
		st, err := parseStep(strings.TrimSpace(part))
		if err != nil {
			return s, fmt.Errorf("script %s: step %q: %w", name, strings.TrimSpace(part), err)
		}
		s.steps = append(s.steps, st)
	}
	return s, nil
}

func parseStep(text string) (step, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return step{}, fmt.Errorf("is empty")
	}
	st := step{text: strings.Join(words, " "), verb: words[0]}
	for _, word := range words[1:] {
		if err := st.add(word); err != nil {
			return st, err
		}
	}
	return st, nil
}

// add takes over one word after the verb, by its form.
func (st *step) add(word string) error {
	if pair := fraction.FindStringSubmatch(word); pair != nil {
		st.at, _ = strconv.Atoi(pair[1])
		st.of, _ = strconv.Atoi(pair[2])
		if st.at < 1 || st.at > st.of {
			return fmt.Errorf("%s is not between 1 and %d", pair[1], st.of)
		}
		return nil
	}
	if number, err := strconv.Atoi(word); err == nil {
		if number < 1 {
			return fmt.Errorf("%d is below 1", number)
		}
		if st.verb == "http" && st.code == "" {
			st.code = word
			return nil
		}
		st.number = number
		return nil
	}
	if wait, err := time.ParseDuration(word); err == nil {
		st.wait = wait
		return nil
	}
	switch {
	case strings.ToUpper(word) != word:
		st.words = append(st.words, word)
	case st.code == "":
		st.code = word
	default:
		st.reason = word
	}
	return nil
}

// word returns the first word after the verb, or "".
func (st step) word() string {
	if len(st.words) == 0 {
		return ""
	}
	return st.words[0]
}

func (st step) has(word string) bool {
	for _, w := range st.words {
		if w == word {
			return true
		}
	}
	return false
}

// foreign is the word of an error whose ErrorInfo has another domain than the service's.
const foreign = "foreign"

// failure returns the error of the step, as a client must take it.
func (st step) failure() failure {
	f := failure{code: st.code, reason: st.reason, wait: st.wait, n: st.times()}
	if st.has(foreign) {
		f.reason = ""
	}
	return f
}

// times returns the number of a step; without one: 1.
func (st step) times() int { return max(st.number, 1) }
