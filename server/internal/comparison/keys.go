package comparison

import (
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// token is one name, such as one of two given names. Two names with one folded key are the same. Two names that only have one
// loose key can be different: a person must decide.
type token struct {
	text    string
	accents bool   // its marks are accents: see hasAccents
	folded  string // equal for texts that differ in case and width only, and in accents if their marks are accents
	loose   string // equal for texts that Unicode's root collation puts at one position
}

func folded(name token) string { return name.folded }

func loose(name token) string { return name.loose }

// newToken returns a name with its keys. It returns the zero token if the text has no letter or digit that the collation regards.
func newToken(text string) token {
	name := token{text: text, accents: hasAccents(text), folded: foldCase(text), loose: looseKey(text)}
	if name.loose == "" || !strings.ContainsFunc(name.folded, isLetterOrNumber) {
		return token{}
	}
	if name.accents {
		name.folded = name.loose
	}
	return name
}

func isLetterOrNumber(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }

// hasAccents reports whether the marks of a name are accents: all its letters are Latin, Greek or Cyrillic. In other scripts, marks and
// small forms make other letters and syllables (হাসি and হাঁসি, りょう and りよう), and the collation ignores them all the same.
func hasAccents(text string) bool {
	return !strings.ContainsFunc(norm.NFKC.String(text), func(r rune) bool {
		return !unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Inherited, unicode.Nd)
	})
}

// foldCase returns the letters, marks and digits of a name, regardless of case and width. Arabic vowel marks are left out, since most
// people write none.
func foldCase(text string) string {
	return strings.Map(func(r rune) rune {
		if isVowelMark(r) || !isLetterOrNumber(r) && !unicode.IsMark(r) {
			return -1
		}
		return unicode.ToLower(unicode.ToUpper(r))
	}, norm.NFKC.String(text))
}

// isVowelMark reports whether a character is an Arabic vowel mark, the mark of a double consonant or of no vowel. The marks of
// madda and hamza (from U+0653) make other letters.
func isVowelMark(r rune) bool { return '\u064b' <= r && r <= '\u0652' || r == '\u0670' }

// invisible reports whether a character has no look of its own, or changes only the look of its neighbor. The tatweel does: it makes an Arabic
// word longer. Unicode counts some of these characters as letters.
func invisible(r rune) bool {
	return r == '\u0640' || unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// folder makes loose keys. A collator is for one goroutine at a time.
type folder struct {
	collator *collate.Collator
	buffer   collate.Buffer
}

var folders = sync.Pool{New: func() any { return &folder{collator: collate.New(language.Und, collate.Loose)} }}

func looseKey(text string) string {
	f := folders.Get().(*folder)
	defer folders.Put(f)
	f.buffer.Reset()
	return string(f.collator.KeyFromString(&f.buffer, text)) + voicing(text)
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
