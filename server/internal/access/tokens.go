package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"example.com/verification-status/server/internal/shares"
)

const (
	// tokenPrefix lets scanners for secrets find a token that was committed or logged.
	tokenPrefix = "vst_"
	tokenBytes  = 32
	tokenLength = len(tokenPrefix) + 43 // 32 bytes in base64
	// tokenPrincipal comes before a token's name, so that no token can be named like a certificate.
	tokenPrincipal = "token:"
	// maxTokens bounds what each call costs: its token is compared with every one.
	maxTokens = 256
)

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$`)

// Token is one line of the tokens' file: who, by which token, may do what.
//
// The hash is a plain SHA-256. Slow hashes are for passwords, which can be guessed; a token is 32
// random bytes, which cannot.
type Token struct {
	Name   string
	Hash   [sha256.Size]byte
	Rights []Right
}

// NewToken makes a token and its line of the file. The token itself is nowhere else.
func NewToken(name string, rights []Right) (token string, line Token, err error) {
	if !tokenName.MatchString(name) {
		return "", Token{}, errors.New("a token's name is 1 to 100 letters, digits, dots, dashes, slashes and underscores, and begins with a letter or digit")
	}
	random := make([]byte, tokenBytes)
	rand.Read(random) // never fails: crypto/rand ends the process rather than do so
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(random)
	return token, Token{Name: name, Hash: sha256.Sum256([]byte(token)), Rights: rights}, nil
}

// String is the line in the file.
func (t Token) String() string {
	words := make([]string, len(t.Rights))
	for i, right := range t.Rights {
		words[i] = string(right)
	}
	return t.Name + " " + hex.EncodeToString(t.Hash[:]) + " " + strings.Join(words, ",")
}

// principal is the token's holder in the record and the log.
func (t Token) principal() string { return tokenPrincipal + t.Name }

func (t Token) opens(path string) bool {
	return slices.ContainsFunc(t.Rights, func(right Right) bool { return slices.Contains(opens[right], path) })
}

// ParseTokens reads the tokens' file: a line for each token with its name, the SHA-256 of the token in
// hexadecimal digits, and its rights, separated by spaces. Empty lines, and lines that begin with #,
// are nothing. Two tokens may have one name: so a token is rolled. A file without tokens lets nobody
// in. There are 256 at the most. Errors name the line, never what is in it.
//
// A right that this version does not know is left out, so that a file can name the rights of a later
// version before the last replica has it. A token that is left without a right may do nothing.
func ParseTokens(text string) ([]Token, error) {
	tokens, _, err := readTokens(text)
	return tokens, err
}

// unknownRights says that a token's line names rights that this version does not know.
type unknownRights struct {
	line   int
	holder string
	number int
	none   bool // it has no others
}

// readTokens is ParseTokens, and tells of the rights that were left out.
func readTokens(text string) (tokens []Token, odd []unknownRights, err error) {
	seen := map[[sha256.Size]byte]bool{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		token, unknown, err := parseToken(fields)
		if err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", number, err)
		}
		if seen[token.Hash] {
			return nil, nil, fmt.Errorf("line %d: the same token is in an earlier line", number)
		}
		if len(tokens) == maxTokens {
			return nil, nil, fmt.Errorf("line %d: there are over %d tokens", number, maxTokens)
		}
		seen[token.Hash] = true
		tokens = append(tokens, token)
		if unknown > 0 {
			odd = append(odd, unknownRights{number, token.principal(), unknown, len(token.Rights) == 0})
		}
	}
	return tokens, odd, nil
}

func parseToken(fields []string) (token Token, unknown int, err error) {
	if len(fields) != 3 {
		return Token{}, 0, errors.New(`a line is "NAME SHA256 RIGHTS"; server token new prints one`)
	}
	token.Name = fields[0]
	if !tokenName.MatchString(token.Name) {
		return Token{}, 0, errors.New("the name has over 100 characters, or others than letters, digits, dots, dashes, slashes and underscores")
	}
	if len(fields[1]) != hex.EncodedLen(sha256.Size) {
		return Token{}, 0, errors.New("the second word is no SHA-256 in 64 hexadecimal digits; server token new prints it")
	}
	if _, err := hex.Decode(token.Hash[:], []byte(fields[1])); err != nil {
		return Token{}, 0, errors.New("the second word is no SHA-256 in 64 hexadecimal digits; server token new prints it")
	}
	token.Rights, unknown, err = readRights(fields[2])
	return token, unknown, err
}

// tokens are those in force, and who holds each.
type tokens struct {
	all     []Token
	holders []caller
}

func newTokens(all []Token) *tokens {
	t := &tokens{all, make([]caller, len(all))}
	for i := range all {
		name := all[i].principal()
		t.holders[i] = caller{principal: name, token: &all[i], holder: shares.Named(name)}
	}
	return t
}

// find returns who holds a token; nil: nobody. It takes as long for one that is almost right as for one that
// is not, and looks at every entry.
func (t *tokens) find(text string) *caller {
	if len(text) != tokenLength {
		return nil
	}
	var token [tokenLength]byte // on the stack, not in the heap
	copy(token[:], text)
	hash := sha256.Sum256(token[:])
	found := -1
	for i := range t.all {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], t.all[i].Hash[:]), i, found)
	}
	if found < 0 {
		return nil
	}
	return &t.holders[found]
}

// parseBearer takes the token out of the values of the authorization header (RFC 6750, section 2.1):
// one value, "Bearer" in any case, a space, and a token that looks like one of ours.
func parseBearer(values []string) (string, bool) {
	if len(values) != 1 {
		return "", false
	}
	scheme, token, found := strings.Cut(values[0], " ")
	ok := found && strings.EqualFold(scheme, "Bearer") && len(token) == tokenLength && strings.HasPrefix(token, tokenPrefix)
	if !ok {
		return "", false
	}
	return token, true
}
