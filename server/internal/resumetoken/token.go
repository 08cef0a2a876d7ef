package resumetoken

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
)

// MaxLength is the longest token, in characters.
const MaxLength = 2048

// ErrInvalid is returned for a token that is not of this service, is garbled, or is of another subject.
var ErrInvalid = errors.New("not a resume token of this subject")

// ErrOtherIncarnation is returned for a token of an earlier consumer of the same name, which was deleted or lost.
var ErrOtherIncarnation = errors.New("the token is of an earlier consumer of this name")

// Kind is the kind of stream or list that a token resumes.
type Kind byte

// The kinds.
const (
	KindSession   Kind = 1
	KindReference Kind = 2
	KindFeed      Kind = 3
	KindList      Kind = 4
	KindConsumer  Kind = 5
)

// version is the first byte of each token. A new layout needs a new number.
const version = 1

// maxPartitions bounds the number of partitions in a token.
const maxPartitions = 64

// Session is a position in the revisions of one session.
type Session struct {
	// ID is the session id.
	ID string
	// Revision is the last handled revision, from 1. 0: none is handled yet.
	Revision int32
	// Fingerprint is that of the record at Revision. It shows whether the store has lost that revision since.
	Fingerprint uint32
}

// Position is a position in one partition of the feed.
type Position struct {
	Epoch, Seq, Nonce uint64
}

// positionLike is Position and the types of other packages that equal it: every update of a watch of all sessions has the token of its
// positions, and they need not be copied for it.
type positionLike interface {
	~struct{ Epoch, Seq, Nonce uint64 }
}

// EncodeSession returns the token of a watch by session id.
func EncodeSession(at Session) string {
	return seal(appendSession([]byte{version, byte(KindSession)}, at))
}

// DecodeSession reads the token of a watch of the session with this id. It returns ErrInvalid for any other text.
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

// EncodeReference returns the token of a watch by reference, which is at a revision of one session.
func EncodeReference(reference string, at Session) string {
	body := append([]byte{version, byte(KindReference)}, digest(reference)...)
	return seal(appendSession(body, at))
}

// DecodeReference reads the token of a watch of this reference. It returns ErrInvalid for any other text.
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

// EncodeFeed returns the token of a watch of all sessions, with a position for each partition.
func EncodeFeed[P positionLike](positions []P) string {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	return seal(appendPositions(append(*buffer, version, byte(KindFeed)), positions))
}

// DecodeFeed reads the token of a watch of all sessions with this number of partitions. It returns ErrInvalid for any other
// text.
func DecodeFeed(token string, partitions int) ([]Position, error) {
	body, err := open(token, KindFeed)
	if err != nil {
		return nil, err
	}
	return readPositions(body, partitions)
}

// EncodeConsumer returns the token of a stream of a named consumer, with a position for each partition. incarnation is that of
// the consumer: a consumer that was deleted and created again has other tokens.
func EncodeConsumer[P positionLike](name string, incarnation uint64, positions []P) string {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	body := append(append(*buffer, version, byte(KindConsumer)), digest(name)...)
	body = binary.BigEndian.AppendUint64(body, incarnation)
	return seal(appendPositions(body, positions))
}

// DecodeConsumer reads the token of a stream of this consumer, with this number of partitions. It returns
// ErrOtherIncarnation for a token of another consumer with the same name, and ErrInvalid for any other text.
func DecodeConsumer(token, name string, incarnation uint64, partitions int) ([]Position, error) {
	body, err := open(token, KindConsumer)
	if err != nil {
		return nil, err
	}
	consumer := digest(name)
	if !bytes.HasPrefix(body, consumer) || len(body) < len(consumer)+8 {
		return nil, ErrInvalid
	}
	body = body[len(consumer):]
	positions, err := readPositions(body[8:], partitions)
	if err == nil && binary.BigEndian.Uint64(body) != incarnation {
		return nil, ErrOtherIncarnation
	}
	return positions, err
}

// IsConsumer reports whether a token is that of a stream of some consumer.
func IsConsumer(token string) bool {
	_, err := open(token, KindConsumer)
	return err == nil
}

// buffers are empty, and have room for what appendPositions and seal append for 16 partitions. Each change that is sent on a watch of
// all sessions has such a token: without the buffers, a third of what the server allocates for 50 consumers was for tokens.
var buffers = sync.Pool{New: func() any {
	buffer := make([]byte, 0, 1200)
	return &buffer
}}

func appendPositions[P positionLike](body []byte, positions []P) []byte {
	const most = 8 + binary.MaxVarintLen64 + 8 // bytes of a position
	size := len(body) + 1 + len(positions)*most + checksumSize
	body = slices.Grow(body, size+base64.RawURLEncoding.EncodedLen(size)) // with room for what seal appends
	body = append(body, byte(len(positions)))
	for _, position := range positions {
		p := Position(position)
		body = binary.BigEndian.AppendUint64(body, p.Epoch)
		body = binary.AppendUvarint(body, p.Seq)
		body = binary.BigEndian.AppendUint64(body, p.Nonce)
	}
	return body
}

func readPositions(body []byte, partitions int) ([]Position, error) {
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

// Cursor is a position in a list: after one session.
type Cursor struct {
	// Second is the session's sort key, in Unix seconds.
	Second int64
	// ID is the session id: 1 to 255 bytes.
	ID string
}

// EncodeList returns the token of a list. filter identifies the list. It can be personal, so the token has a hash of it.
func EncodeList(filter string, at Cursor) string {
	body := append([]byte{version, byte(KindList)}, digest(filter)...)
	return seal(append(binary.AppendVarint(body, at.Second), at.ID...))
}

// DecodeList reads the token of a list with this filter. It returns ErrInvalid for any other text.
func DecodeList(token, filter string) (Cursor, error) {
	body, err := open(token, KindList)
	if err != nil {
		return Cursor{}, err
	}
	list := digest(filter)
	if !bytes.HasPrefix(body, list) {
		return Cursor{}, ErrInvalid
	}
	body = body[len(list):]
	second, n := binary.Varint(body)
	if n <= 0 || len(body) < n+1 || len(body) > n+255 {
		return Cursor{}, ErrInvalid
	}
	return Cursor{Second: second, ID: string(body[n:])}, nil
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

// digest stands for a reference or filter, which can be personal and must not be readable in a URL. A list of guesses
// reverses it.
func digest(reference string) []byte {
	sum := sha256.Sum256([]byte(reference))
	return sum[:16]
}

// checksumSize is the size of the checksum, in bytes.
const checksumSize = 4

// seal adds a checksum, so that a cut or mistyped token is refused.
func seal(body []byte) string {
	body = binary.BigEndian.AppendUint32(body, crc32.ChecksumIEEE(body))
	return string(base64.RawURLEncoding.AppendEncode(body, body)[len(body):])
}

func open(token string, kind Kind) ([]byte, error) {
	if len(token) > MaxLength || strings.ContainsAny(token, "\r\n") { // the decoder skips these characters
		return nil, ErrInvalid
	}
	// Strict refuses other encodings of the same bytes.
	body, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(body) < 2+checksumSize {
		return nil, ErrInvalid
	}
	body, sum := body[:len(body)-checksumSize], binary.BigEndian.Uint32(body[len(body)-checksumSize:])
	if crc32.ChecksumIEEE(body) != sum || body[0] != version || body[1] != byte(kind) {
		return nil, ErrInvalid
	}
	return body[2:], nil
}
