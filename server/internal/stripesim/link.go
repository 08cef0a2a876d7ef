package stripesim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// linkLife is how long Stripe's url stays valid.
const linkLife = 48 * time.Hour

// newLink returns a new single-use link to the hosted page. Each read of a session makes one, so only its number is stored: the token
// has the session, the number and the expiry of the link, and a keyed hash of them. The caller holds s.mu.
func (s *Sim) newLink(sess *session) string {
	sess.links++
	payload := strings.TrimPrefix(sess.id, "vs_") +
		"_" + strconv.FormatUint(uint64(sess.links), 36) +
		"_" + strconv.FormatInt(s.now().Add(linkLife).Unix(), 36)
	return s.base + "/verify/" + payload + "_" + s.linkMAC(payload)
}

func (s *Sim) linkMAC(payload string) string {
	mac := hmac.New(sha256.New, s.macKey[:])
	mac.Write([]byte(payload))
	return hex.EncodeToString(mac.Sum(nil)[:12])
}

// linkState says whether a link can be used.
type linkState int

const (
	linkUsable linkState = iota
	linkUnknown
	linkUsed
	linkExpired
	linkClosed // the session accepts no input now
)

// openLink returns the session and the number of a link, and whether it can be used now. The session of an unknown link is nil, unless
// only the part after the session's id is wrong. The caller holds s.mu.
func (s *Sim) openLink(token string) (*session, uint32, linkState) {
	parts := strings.Split(token, "_")
	if len(parts) != 4 {
		return nil, 0, linkUnknown
	}
	payload := strings.Join(parts[:3], "_")
	sess := s.sessions["vs_"+parts[0]]
	if !hmac.Equal([]byte(s.linkMAC(payload)), []byte(parts[3])) {
		return sess, 0, linkUnknown
	}
	n, errN := strconv.ParseUint(parts[1], 36, 32)
	end, errEnd := strconv.ParseInt(parts[2], 36, 64)
	if errN != nil || errEnd != nil || sess == nil {
		return sess, 0, linkUnknown
	}
	switch {
	case sess.linkUsed(uint32(n)):
		return sess, uint32(n), linkUsed
	case s.now().Unix() >= end:
		return sess, uint32(n), linkExpired
	case !sess.takesInput():
		return sess, uint32(n), linkClosed
	default:
		return sess, uint32(n), linkUsable
	}
}
