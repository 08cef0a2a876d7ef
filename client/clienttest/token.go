package clienttest

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"strconv"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// token is where a watch stands, behind a revision of a session or a number of feed entries.
type token struct {
	Epoch    int    `json:"e"`
	Subject  string `json:"w"`
	Session  string `json:"s,omitempty"`
	Revision int32  `json:"r,omitempty"`
	Entries  int    `json:"n,omitempty"`
}

const maxToken = 2048

func (t token) String() string {
	text, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// parseToken reads a token of this subject and epoch.
func parseToken(text, subject string, epoch int) (token, error) {
	if len(text) > maxToken {
		return token{}, invalid("resume_token", "is too long")
	}
	var t token
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err == nil {
		err = json.Unmarshal(decoded, &t)
	}
	if err != nil || t.Subject != subject {
		return t, Error(verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID)
	}
	if t.Epoch != epoch {
		return t, Error(verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED)
	}
	return t, nil
}

// digest stands for a reference, as in the real tokens, which must not show it.
func digest(reference string) string {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(reference))
	return "reference " + strconv.FormatUint(sum.Sum64(), 16)
}
