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
	// tokenPrefix lets secret scanners find a token that was committed or logged.
	tokenPrefix = "vst_"
	tokenBytes  = 32
	tokenLength = len(tokenPrefix) + 43 // 32 bytes in base64
	// tokenPrincipal precedes a token's name, so that no token can have the name of a certificate.
	tokenPrincipal = "token:"
	// maxTokens bounds the cost of each call, whose token is compared with all tokens.
	maxTokens = 256
)

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$`)

// Token is one line of the tokens' file.
//
// Its hash is a plain SHA-256. Slow hashes are for passwords, which can be guessed. A token has 32 random bytes, which
// cannot.
type Token struct {
	Name   string
	Hash   [sha256.Size]byte
	Rights []Right
}

// NewToken returns a new token and its line for the file. It keeps no copy of the token. It returns an error for a name that
// the file cannot have.
func NewToken(name string, rights []Right) (token string, line Token, err error) {
	if !tokenName.MatchString(name) {
		return "", Token{}, errors.New("a token's name is 1 to 100 letters, digits, dots, dashes, slashes and underscores, and begins with a letter or digit")
	}
	random := make([]byte, tokenBytes)
	rand.Read(random) // never fails: crypto/rand ends the process rather than do so
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(random)
	return token, Token{Name: name, Hash: sha256.Sum256([]byte(token)), Rights: rights}, nil
}

// String returns the line for the file.
func (t Token) String() string {
	words := make([]string, len(t.Rights))
	for i, right := range t.Rights {
		words[i] = string(right)
	}
	return t.Name + " " + hex.EncodeToString(t.Hash[:]) + " " + strings.Join(words, ",")
}

// principal returns the name of the token's callers in records and in the log.
func (t Token) principal() string { return tokenPrincipal + t.Name }

func (t Token) allows(path string) bool {
	return slices.ContainsFunc(t.Rights, func(right Right) bool { return slices.Contains(pathsOfRight[right], path) })
}

// ParseTokens reads the tokens' file. Each token has a line: its name, the SHA-256 of the token in hexadecimal digits, and
// its rights, separated by spaces. Empty lines and lines that begin with # are skipped. Two tokens can have one name, to
// replace a token without an interruption. With a file without tokens, every call by token is refused. A file has at most
// 256 tokens. Errors have the number of the line, and none of its text.
//
// ParseTokens leaves out a right that this version does not know, so that a file can have the rights of a later version
// before all replicas run it. A token without rights is valid and may make no call.
func ParseTokens(text string) ([]Token, error) {
	tokens, _, err := readTokens(text)
	return tokens, err
}

// unknownRights is about a token's line with rights that this version does not know.
type unknownRights struct {
	line   int
	holder string
	number int
	none   bool // the token has no known right
}

// readTokens is ParseTokens, and returns the rights that were left out.
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

// tokens are the current tokens and the caller of each.
type tokens struct {
	all     []Token
	callers []caller // of the token with the same index
}

func newTokens(all []Token) *tokens {
	t := &tokens{all, make([]caller, len(all))}
	for i := range all {
		name := all[i].principal()
		t.callers[i] = caller{principal: name, token: &all[i], holder: shares.Named(name)}
	}
	return t
}

// find returns the caller with a token, or nil. It compares the token with all tokens, in constant time.
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
	return &t.callers[found]
}

// parseBearer returns the token in the values of the authorization header (RFC 6750, section 2.1): one value, "Bearer" in
// any case, a space, and a token with the prefix and length of this service's.
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
