package clienttest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash/fnv"
	"strconv"
	"strings"
)

// token is the position of a watch or a consumer, after a revision of a session or after a number of feed entries, or the cursor of a list,
// after a session of one second.
type token struct {
	Epoch    int    `json:"e"`
	Subject  string `json:"w"`
	Session  string `json:"s,omitempty"`
	Revision int32  `json:"r,omitempty"`
	Entries  int    `json:"n,omitempty"`
	Second   int64  `json:"t,omitempty"`
}

const maxToken = 2048

func (t token) String() string {
	text, err := json.Marshal(t)
	if err != nil {
		panic(err) // it has strings and numbers only
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// errNoToken: a text is not a token of this subject.
var errNoToken = errors.New("no token")

// parseToken reads a token of this subject.
func parseToken(text, subject string) (token, error) {
	t, err := decodeToken(text)
	if err != nil || t.Subject != subject {
		return t, errNoToken
	}
	return t, nil
}

// decodeToken reads a token of any subject.
func decodeToken(text string) (token, error) {
	var t token
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err == nil {
		err = json.Unmarshal(decoded, &t)
	}
	if err != nil || strings.ContainsAny(text, "\r\n") { // the decoder skips these
		return t, errNoToken
	}
	return t, nil
}

// checkToken returns an error if a token is too long.
func checkToken(field, text string) error {
	if len(text) > maxToken {
		return invalid(field, "is too long")
	}
	return nil
}

// digest stands for a reference or a list, as in the service's tokens, in which it must not be readable.
func digest(kind, text string) string {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(text))
	return kind + " " + strconv.FormatUint(sum.Sum64(), 16)
}
