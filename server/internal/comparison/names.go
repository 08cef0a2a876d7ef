package comparison

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxNames bounds the names in a text that are compared one by one, since the time grows with their square.
const maxNames = 20

// maxMore bounds how many names more than the verified name an expectation can have. Without the bound, one comparison with a list of
// candidates would tell whether the verified name is among them.
const maxMore = 2

// compareNames compares given names or family names that are not equal as texts.
func compareNames(expected, verified string) (Result, Rule) {
	e, v := tokens(expected), tokens(verified)
	switch {
	case len(e) == 0 || len(v) == 0:
		return Mismatch, NoRule
	case differentScripts(expected, verified):
		return Close, DifferentScript
	case sameKeys(e, v, folded):
		return Match, Folded
	case len(e) > maxNames || len(v) > maxNames:
		return Mismatch, NoRule
	case len(e) == len(v) && allPaired(e, v, sameName):
		return Match, Transliterated
	case sameKeys(e, v, loose) || len(e) == len(v) && allPaired(e, v, nearName):
		return Close, Folded
	case someLeftOut(e, v) || len(e) <= len(v)+maxMore && someLeftOut(v, e):
		return Close, NamesLeftOut
	default:
		return Mismatch, NoRule
	}
}

// apostrophes separate no names: ICAO Doc 9303-3 leaves them out. Some are letters in Unicode.
const apostrophes = "'`´‘’‛′ʹʻʼʽʾʿˈ＇"

// tokens returns the names in a text. Everything but letters, digits and their marks separates names. Apostrophes and
// characters without a look of their own, such as the soft hyphen, are left out.
func tokens(text string) []token {
	var names []token
	var name strings.Builder
	end := func() {
		if t := newToken(name.String()); t.folded != "" {
			names = append(names, t)
		}
		name.Reset()
	}
	for _, r := range norm.NFC.String(text) {
		switch {
		case strings.ContainsRune(apostrophes, r), invisible(r):
		case isLetterOrNumber(r), unicode.IsMark(r):
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

// sameKeys reports whether all names of two texts have the same keys, in any order, or have the same key if they are written as one.
func sameKeys(a, b []token, key func(token) string) bool {
	if key(joined(a)) == key(joined(b)) {
		return true
	}
	return slices.Equal(sortedKeys(a, key), sortedKeys(b, key))
}

func sortedKeys(names []token, key func(token) string) []string {
	var keys []string
	for _, name := range names {
		keys = append(keys, key(name))
	}
	slices.Sort(keys)
	return keys
}

// sameName reports whether two names are the same by their folded keys or by their spelling in travel documents.
func sameName(a, b token) bool { return a.folded == b.folded || sameSpelling(a, b) }

// nearName reports whether two names are the same, or can be: their loose keys are equal.
func nearName(a, b token) bool { return a.loose == b.loose || sameSpelling(a, b) }

// someLeftOut reports whether all names of some are among those of all, each once. The names of some can also be written as one. That is not
// tried by spelling: with its spaces left out, Ø E is spelled as Ø is.
func someLeftOut(some, all []token) bool {
	if len(some) < len(all) && allPaired(some, all, nearName) {
		return true
	}
	whole := joined(some).loose
	for from := range all {
		for to := from + 1; to <= len(all); to++ {
			if to-from < len(all) && whole == joined(all[from:to]).loose {
				return true
			}
		}
	}
	return false
}

// allPaired reports whether each name of some has a partner in all that is the same, no two the same partner. A name can be the same as
// two that differ (Müller is Muller and Mueller), so a first choice can be wrong: it is changed if that helps the next.
func allPaired(some, all []token, same func(a, b token) bool) bool {
	partner := make([]int, len(all)) // index in some, plus 1
	for i := range some {
		if !pair(i, some, all, same, partner, make([]bool, len(all))) {
			return false
		}
	}
	return true
}

func pair(i int, some, all []token, same func(a, b token) bool, partner []int, tried []bool) bool {
	for j := range all {
		if tried[j] || !same(some[i], all[j]) {
			continue
		}
		tried[j] = true
		if partner[j] == 0 || pair(partner[j]-1, some, all, same, partner, tried) {
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
