package clienttest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash/fnv"
	"strconv"
	"strings"
)

// token is where a watch stands, behind a revision of a session or a number of feed entries, or where a
// list stands, behind a session of one second.
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
		panic(err) // strings and numbers only
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// errNoToken: a text is no token of this subject.
var errNoToken = errors.New("no token")

// parseToken reads a token of this subject.
func parseToken(text, subject string) (token, error) {
	var t token
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err == nil {
		err = json.Unmarshal(decoded, &t)
	}
	if err != nil || t.Subject != subject || strings.ContainsAny(text, "\r\n") { // the decoder skips these
		return t, errNoToken
	}
	return t, nil
}

// checkToken refuses what is too long.
func checkToken(field, text string) error {
	if len(text) > maxToken {
		return invalid(field, "is too long")
	}
	return nil
}

// digest stands for a reference or a list, as in the real tokens, which must not show it.
func digest(kind, text string) string {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(text))
	return kind + " " + strconv.FormatUint(sum.Sum64(), 16)
}
