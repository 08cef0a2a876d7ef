// Package resumetoken writes and reads the tokens by which a watch goes on after a break, and a list
// after a page. A token is opaque to callers, URL-safe and at most MaxLength characters. It proves
// nothing and holds no secret: a caller who may watch a subject may hold any token of it. It names no
// reference in clear.
package resumetoken

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
)

// MaxLength is the longest token, in characters.
const MaxLength = 2048

// ErrInvalid means: no token of this service, a garbled one, or one for another subject.
var ErrInvalid = errors.New("not a resume token of this subject")

// Kind is what a token's stream watches, or that it is a list's.
type Kind byte

// The kinds.
const (
	KindSession   Kind = 1
	KindReference Kind = 2
	KindFeed      Kind = 3
	KindList      Kind = 4
)

// version is the first byte of each token. Another layout gets another number.
const version = 1

// maxPartitions bounds what a token may claim.
const maxPartitions = 64

// Session is the place in one session's revisions: after the one named.
type Session struct {
	// ID is the session's.
	ID string
	// Revision is the last one handled, from 1; 0: none yet.
	Revision int32
	// Fingerprint is the record's at that revision, to notice a store that lost it.
	Fingerprint uint32
}

// Position is a place in one partition of the feed.
type Position struct {
	Epoch, Seq, Nonce uint64
}

// EncodeSession makes the token of a watch by session id.
func EncodeSession(at Session) string {
	return seal(appendSession([]byte{version, byte(KindSession)}, at))
}

// DecodeSession reads the token of a watch of the session with this id. ErrInvalid otherwise.
func DecodeSession(token, id string) (Session, error) {
	body, err := open(token, KindSession)
	if err != nil {
		return Session{}, err
	}
	at, err := readSession(body)
	if err != nil || at.ID != id {
		return Session{}, ErrInvalid
	}
	return at, nil
}

// EncodeReference makes the token of a watch by reference, which was at a revision of some session.
func EncodeReference(reference string, at Session) string {
	body := append([]byte{version, byte(KindReference)}, digest(reference)...)
	return seal(appendSession(body, at))
}

// DecodeReference reads the token of a watch of this reference. ErrInvalid otherwise.
func DecodeReference(token, reference string) (Session, error) {
	body, err := open(token, KindReference)
	if err != nil {
		return Session{}, err
	}
	subject := digest(reference)
	if !bytes.HasPrefix(body, subject) {
		return Session{}, ErrInvalid
	}
	return readSession(body[len(subject):])
}

// EncodeFeed makes the token of a watch of all sessions: a position for each partition.
func EncodeFeed(positions []Position) string {
	body := []byte{version, byte(KindFeed), byte(len(positions))}
	for _, p := range positions {
		body = binary.BigEndian.AppendUint64(body, p.Epoch)
		body = binary.AppendUvarint(body, p.Seq)
		body = binary.BigEndian.AppendUint64(body, p.Nonce)
	}
	return seal(body)
}

// DecodeFeed reads the token of a watch of all sessions, of this many partitions. ErrInvalid
// otherwise.
func DecodeFeed(token string, partitions int) ([]Position, error) {
	body, err := open(token, KindFeed)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 || int(body[0]) != partitions || partitions > maxPartitions {
		return nil, ErrInvalid
	}
	body = body[1:]
	positions := make([]Position, partitions)
	for i := range positions {
		if len(body) < 8 {
			return nil, ErrInvalid
		}
		positions[i].Epoch, body = binary.BigEndian.Uint64(body), body[8:]
		seq, n := binary.Uvarint(body)
		if n <= 0 || len(body) < n+8 {
			return nil, ErrInvalid
		}
		positions[i].Seq = seq
		positions[i].Nonce, body = binary.BigEndian.Uint64(body[n:]), body[n+8:]
	}
	if len(body) != 0 {
		return nil, ErrInvalid
	}
	return positions, nil
}

// Place is a place in a list: behind one session.
type Place struct {
	// Second is what the list is sorted by, in Unix seconds.
	Second int64
	// ID is the session's: 1 to 255 bytes.
	ID string
}

// EncodeList makes the token of a list, which was at a place. filter says which list it is; it may be
// personal.
func EncodeList(filter string, at Place) string {
	body := append([]byte{version, byte(KindList)}, digest(filter)...)
	return seal(append(binary.AppendVarint(body, at.Second), at.ID...))
}

// DecodeList reads the token of a list with this filter. ErrInvalid otherwise.
func DecodeList(token, filter string) (Place, error) {
	body, err := open(token, KindList)
	if err != nil {
		return Place{}, err
	}
	list := digest(filter)
	if !bytes.HasPrefix(body, list) {
		return Place{}, ErrInvalid
	}
	body = body[len(list):]
	second, n := binary.Varint(body)
	if n <= 0 || len(body) < n+1 || len(body) > n+255 {
		return Place{}, ErrInvalid
	}
	return Place{Second: second, ID: string(body[n:])}, nil
}

func appendSession(body []byte, at Session) []byte {
	body = binary.AppendUvarint(body, uint64(at.Revision))
	body = binary.BigEndian.AppendUint32(body, at.Fingerprint)
	return append(body, at.ID...)
}

func readSession(body []byte) (Session, error) {
	revision, n := binary.Uvarint(body)
	if n <= 0 || revision > 1<<31-1 || len(body) < n+4+1 || len(body) > n+4+255 {
		return Session{}, ErrInvalid
	}
	return Session{
		Revision:    int32(revision),
		Fingerprint: binary.BigEndian.Uint32(body[n:]),
		ID:          string(body[n+4:]),
	}, nil
}

// digest stands for a reference or filter, which may be personal and must not travel in a URL in clear. A list of guesses
// turns it back.
func digest(reference string) []byte {
	sum := sha256.Sum256([]byte(reference))
	return sum[:16]
}

// seal adds a checksum, so that a token cut short or mistyped is refused and never half understood.
func seal(body []byte) string {
	body = binary.BigEndian.AppendUint32(body, crc32.ChecksumIEEE(body))
	return base64.RawURLEncoding.EncodeToString(body)
}

func open(token string, kind Kind) ([]byte, error) {
	if len(token) > MaxLength || strings.ContainsAny(token, "\r\n") { // the decoder would skip these
		return nil, ErrInvalid
	}
	// Strict: of the spellings of one token only the one that was given is taken.
	body, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(body) < 2+4 {
		return nil, ErrInvalid
	}
	body, sum := body[:len(body)-4], binary.BigEndian.Uint32(body[len(body)-4:])
	if crc32.ChecksumIEEE(body) != sum || body[0] != version || body[1] != byte(kind) {
		return nil, ErrInvalid
	}
	return body[2:], nil
}
