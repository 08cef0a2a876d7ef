package comparison

import (
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// maxNames bounds the names in a text that are compared one by one, since the time grows with their square.
const maxNames = 20

// compareNames compares given names or family names that are not equal as texts.
func compareNames(expected, verified string) (Result, Rule) {
	if norm.NFC.String(expected) == norm.NFC.String(verified) {
		return Match, Exact
	}
	e, v := tokens(expected), tokens(verified)
	switch {
	case len(e) == 0 || len(v) == 0:
		return Mismatch, NoRule
	case differentScripts(expected, verified):
		return Close, DifferentScript
	case sameKeys(e, v):
		return Match, Folded
	case len(e) > maxNames || len(v) > maxNames:
		return Mismatch, NoRule
	case len(e) == len(v) && allPaired(e, v):
		return Match, Transliterated
	case someLeftOut(e, v) || someLeftOut(v, e):
		return Close, NamesLeftOut
	default:
		return Mismatch, NoRule
	}
}

// apostrophes separate no names: ICAO Doc 9303-3 leaves them out. Some are letters in Unicode.
const apostrophes = "'`´‘’‛′ʹʻʼʽʾʿˈ＇"

// token is one name, such as one of two given names.
type token struct {
	text string
	key  string // equal for texts that differ in case, accents and width only
}

// tokens returns the names in a text. Everything but letters, digits and their marks separates names. Apostrophes and
// characters without a look of their own, such as the soft hyphen, do not.
func tokens(text string) []token {
	var names []token
	var name strings.Builder
	end := func() {
		if t := newToken(name.String()); t.key != "" {
			names = append(names, t)
		}
		name.Reset()
	}
	for _, r := range norm.NFC.String(text) {
		switch {
		case strings.ContainsRune(apostrophes, r), unicode.Is(unicode.Cf, r):
		case unicode.IsLetter(r), unicode.IsMark(r), unicode.IsNumber(r):
			name.WriteRune(r)
		default:
			end()
		}
	}
	end()
	return names
}

// joined returns the names as one, as in VANDENBERG.
func joined(names []token) token {
	var text strings.Builder
	for _, name := range names {
		text.WriteString(name.text)
	}
	return newToken(text.String())
}

// folder makes keys. A collator is for one goroutine at a time.
type folder struct {
	collator *collate.Collator
	buffer   collate.Buffer
}

var folders = sync.Pool{New: func() any { return &folder{collator: collate.New(language.Und, collate.Loose)} }}

func newToken(text string) token {
	f := folders.Get().(*folder)
	defer folders.Put(f)
	f.buffer.Reset()
	return token{text, string(f.collator.KeyFromString(&f.buffer, text)) + voicing(text)}
}

// voicing returns the Japanese voicing marks of a name, each with its position, or "" without any. To the collation they are accents, but
// ガ is another syllable than カ.
func voicing(text string) string {
	var marks []rune
	position := rune(0)
	for _, r := range norm.NFKD.String(text) {
		if r == '\u3099' || r == '\u309a' {
			marks = append(marks, position, r)
		}
		position++
	}
	return string(marks)
}

// sameKeys reports whether two names are the same but for case, accents, punctuation and order.
func sameKeys(a, b []token) bool {
	if joined(a).key == joined(b).key {
		return true
	}
	return slices.Equal(sortedKeys(a), sortedKeys(b))
}

func sortedKeys(names []token) []string {
	var keys []string
	for _, name := range names {
		keys = append(keys, name.key)
	}
	slices.Sort(keys)
	return keys
}

// sameName reports whether two names are the same by their keys or by their spelling in travel documents.
func sameName(a, b token) bool { return a.key == b.key || sameSpelling(a, b) }

// someLeftOut reports whether all names of some are among those of all, each once. The names of some can also be written as one. That is not
// tried by spelling: with its spaces left out, Ø E is spelled as Ø is.
func someLeftOut(some, all []token) bool {
	if len(some) < len(all) && allPaired(some, all) {
		return true
	}
	whole := joined(some).key
	for from := range all {
		for to := from + 1; to <= len(all); to++ {
			if to-from < len(all) && whole == joined(all[from:to]).key {
				return true
			}
		}
	}
	return false
}

// allPaired reports whether each name of some has a partner in all that is the same, no two the same partner. A name can be the same as
// two that differ (Müller is Muller and Mueller), so a first choice can be wrong: it is changed if that helps the next.
func allPaired(some, all []token) bool {
	partner := make([]int, len(all)) // index in some, plus 1
	for i := range some {
		if !pair(i, some, all, partner, make([]bool, len(all))) {
			return false
		}
	}
	return true
}

func pair(i int, some, all []token, partner []int, tried []bool) bool {
	for j := range all {
		if tried[j] || !sameName(some[i], all[j]) {
			continue
		}
		tried[j] = true
		if partner[j] == 0 || pair(partner[j]-1, some, all, partner, tried) {
			partner[j] = i + 1
			return true
		}
	}
	return false
}

// differentScripts reports whether two names have letters and none of a common script.
func differentScripts(a, b string) bool {
	of := scripts(a)
	other := scripts(b)
	for script := range of {
		if other[script] {
			return false
		}
	}
	return len(of) > 0 && len(other) > 0
}

// scripts returns the scripts of a name's letters. Letters that several scripts share have none.
func scripts(name string) map[string]bool {
	found := map[string]bool{}
	for _, r := range name {
		if !unicode.IsLetter(r) {
			continue
		}
		if unicode.Is(unicode.Latin, r) {
			found["Latin"] = true
			continue
		}
		for script, table := range unicode.Scripts {
			if script != "Common" && script != "Inherited" && unicode.Is(table, r) {
				found[script] = true
			}
		}
	}
	return found
}
