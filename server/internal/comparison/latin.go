package comparison

import (
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// spellings has the Latin letters that travel documents do not spell with the letter below the accent alone: ICAO Doc 9303,
// part 3, 8th edition (2021), section 6, table A. Where the table leaves a choice, all of it is here. A letter that is also
// spelled without its accent has that spelling too, since documents differ in that.
var spellings = map[rune][]string{
	'Ä': {"AE", "A"}, 'Å': {"AA", "A"}, 'Æ': {"AE"},
	'Ö': {"OE", "O"}, 'Ø': {"OE", "O"}, 'Œ': {"OE"},
	'Ü': {"UE", "UXX", "U"}, 'Ñ': {"N", "NXX"},
	'Þ': {"TH"}, 'ß': {"SS"}, 'ẞ': {"SS"}, 'Ĳ': {"IJ"},
	'Ð': {"D"}, 'Đ': {"D"}, 'Ħ': {"H"}, 'ĸ': {"Q"}, 'Ŀ': {"L"}, 'Ł': {"L"}, 'ŉ': {"N"}, 'Ŋ': {"N"}, 'Ŧ': {"T"},
}

// spell returns the spellings of each letter of a name in travel documents.
func spell(name string) [][]string {
	var spelled [][]string
	for _, r := range norm.NFC.String(name) {
		r = unicode.ToUpper(r) // of ı too: it is I in the table
		if known, ok := spellings[r]; ok {
			spelled = append(spelled, known)
		} else if base := letter(r); base != "" {
			spelled = append(spelled, []string{base})
		}
	}
	return spelled
}

// letter returns a Latin letter without its accents, nothing for an accent that has no letter, and every other character as it is.
func letter(r rune) string {
	decomposed := []rune(norm.NFKD.String(string(r)))
	if !unicode.Is(unicode.Latin, decomposed[0]) {
		if unicode.IsMark(r) && unicode.Is(unicode.Inherited, r) {
			return ""
		}
		return string(r)
	}
	var base []rune
	for _, part := range decomposed {
		if !unicode.IsMark(part) {
			base = append(base, unicode.ToUpper(part))
		}
	}
	return string(base)
}

// sameSpelling reports whether there is a spelling that both names have in travel documents. It leaves accents out, so only names whose
// marks are accents have one.
func sameSpelling(a, b token) bool {
	if !a.accents || !b.accents {
		return false
	}
	spelledA, spelledB := spell(a.text), spell(b.text)
	if len(spelledA) > maxSpelling*len(spelledB) || len(spelledB) > maxSpelling*len(spelledA) {
		return false
	}
	return haveCommon(spelledA, spelledB)
}

// maxSpelling is the length of the longest spelling of a letter, UXX.
const maxSpelling = 3

// haveCommon reports whether two sequences of choices have a text in common. No choice is empty.
func haveCommon(a, b [][]string) bool {
	type state struct {
		i, j         int
		restA, restB string // what is chosen and not yet compared; one of the two is empty
	}
	seen := map[state]bool{}
	var from func(state) bool
	from = func(s state) bool {
		common := min(len(s.restA), len(s.restB))
		if s.restA[:common] != s.restB[:common] {
			return false
		}
		s.restA, s.restB = s.restA[common:], s.restB[common:]
		if seen[s] {
			return false
		}
		seen[s] = true
		switch {
		case s.restA == "" && s.i < len(a):
			for _, choice := range a[s.i] {
				if from(state{s.i + 1, s.j, choice, s.restB}) {
					return true
				}
			}
			return false
		case s.restB == "" && s.j < len(b):
			for _, choice := range b[s.j] {
				if from(state{s.i, s.j + 1, s.restA, choice}) {
					return true
				}
			}
			return false
		default:
			return s.restA == "" && s.restB == "" && s.i == len(a) && s.j == len(b)
		}
	}
	return from(state{})
}
