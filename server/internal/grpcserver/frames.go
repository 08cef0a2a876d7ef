package grpcserver

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net"
	"slices"
	"time"
)

const (
	// framesEach is how many DATA frames each call can send. A request is one message of at most 64 KiB: clients send it in one frame to five,
	// and a proxy that cuts it into 4 KiB in seventeen. Without a limit, a request in frames of one byte takes fifty times its size: gRPC
	// keeps each frame in a buffer of its own until the message is whole.
	framesEach = 32
	// framesAtFirst is how many more frames the calls of a new connection can send together: reflection is a stream on which a tool asks for
	// many types at once.
	framesAtFirst = 256
	// framesEachSecond is how many of these a connection earns: such a tool asks as long as it runs.
	framesEachSecond = 16
	// maxFramesAhead bounds what a connection can save.
	maxFramesAhead = 1024
	// maxHalfRequests is how many calls with an incomplete request a connection counts at the same time.
	maxHalfRequests = 1024
)

// frameLimit is a connection on which a call ends that sends more DATA frames than requests need. A proxy can share the connection between
// callers, so the other calls on it continue. frameLimit reads along, from the client's preface on, and inserts a frame for gRPC behind the
// DATA frame that is one too many. Only one goroutine may read.
type frameLimit struct {
	net.Conn
	ends func(peer net.Addr) // called for each call that ends

	skip   int // bytes until the next frame's header
	header [9]byte
	have   int // bytes of the header

	halves []halfRequest // by ascending id
	// dropped is the greatest id that halves had no room for. Calls up to it that are not in halves have no frames of their own any more, so that
	// no call gets frames twice. Such a call is older than maxHalfRequests calls whose requests are incomplete: a client's calls are not.
	dropped uint32
	saved   int       // frames that the calls can send together
	earned  time.Time // up to when saved has what framesEachSecond brings

	over   uint32 // the call that ends behind the current frame; 0: none
	later  []byte // what the next reads return; nil: nothing
	unread []byte // what was read and not yet followed; nil: nothing

	opens         bool // the current frame completes the headers of a call
	begun         bool // a call has begun since the last cut
	cut           bool // the last read ended behind the header of the frame that begins the next call; begin has not seen it
	calls, resets int  // calls, and resets of young calls, to be paid for

	current uint32           // the call that began last
	whole   bool             // its request is complete, or has ended
	sent    int              // bytes of the request of the current call, until the tap knows it
	awaited map[uint32]*call // calls whose requests are incomplete, by id; some of them may be over
	ages    ages
}

// halfRequest is a call whose last DATA frame has not come.
type halfRequest struct {
	id   uint32
	left int32 // frames of its own, or callEnded
}

// callEnded is the left of a call that has ended.
const callEnded = -1

func newFrameLimit(conn net.Conn, ends func(peer net.Addr)) *frameLimit {
	const preface = len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	return &frameLimit{Conn: conn, ends: ends, skip: preface, saved: framesAtFirst, earned: time.Now()}
}

// Read implements net.Conn.
func (f *frameLimit) Read(p []byte) (int, error) {
	if f.later == nil {
		n, err := f.receive(p)
		before, followed := f.follow(p[:n])
		switch {
		case f.unread != nil:
			f.unread = f.unread[followed:]
		case followed < n:
			f.unread = bytes.Clone(p[followed:n])
		}
		if len(f.unread) == 0 {
			f.unread = nil
		}
		switch {
		case f.later == nil && f.unread == nil:
			return before, err
		case before > 0:
			return before, nil // after an error, the connection's next Read returns it again
		case f.later == nil:
			return 0, err
		}
	}
	n := copy(p, f.later)
	if f.later = f.later[n:]; len(f.later) == 0 {
		f.later = nil
	}
	return n, nil
}

// receive returns what is unread, as far as it fits, else the next part from the client.
func (f *frameLimit) receive(p []byte) (int, error) {
	if f.unread == nil {
		return f.Conn.Read(p)
	}
	return copy(p, f.unread), nil
}

// follow reads a part of what the client sends: RFC 9113, section 4.1. It ends where a second call begins, so that gRPC has had the first one
// before the next read. It returns how much it has followed. before is how much of that comes before the first frame that it inserts. The rest of it is in f.later.
func (f *frameLimit) follow(p []byte) (before, followed int) {
	before, copied := len(p), 0
	if f.cut {
		f.cut, f.begun = false, false
		f.begin()
	}
	defer func() {
		if f.later != nil {
			f.later = append(f.later, p[copied:followed]...)
		}
		before = min(before, followed)
	}()
	for at := 0; ; {
		n := min(f.skip, len(p)-at)
		f.skip, at = f.skip-n, at+n
		if f.skip > 0 {
			break
		}
		if f.over != 0 {
			if f.later == nil {
				before, copied = at, at
			}
			f.later = append(f.later, p[copied:at]...)
			f.later = appendEnd(f.later, f.over)
			copied, f.over = at, 0
		}
		if f.opens {
			f.opens, f.begun = false, true
			f.calls++
		}
		n = copy(f.header[f.have:], p[at:])
		f.have, at = f.have+n, at+n
		if f.have < len(f.header) {
			break
		}
		const headers = 1
		if f.cut = f.begun && f.header[3] == headers; f.cut {
			return before, at
		}
		f.begin()
	}
	return before, len(p)
}

// appendEnd appends a frame at which gRPC ends a call, and sends the client RST_STREAM: a WINDOW_UPDATE of 0, which is an error of this stream
// alone (RFC 9113, section 6.9). At an RST_STREAM gRPC would end the call without a word to the client, which would wait for ever, and a
// proxy with it.
func appendEnd(to []byte, id uint32) []byte {
	const windowUpdate = 8
	to = append(to, 0, 0, 4, windowUpdate, 0)
	to = binary.BigEndian.AppendUint32(to, id)
	return append(to, 0, 0, 0, 0)
}

// begin looks at the header of a frame.
func (f *frameLimit) begin() {
	const (
		data, headers, rstStream, continuation = 0, 1, 3, 9
		endStream, endHeaders                  = 1, 4
	)
	f.have, f.skip = 0, int(binary.BigEndian.Uint32(f.header[:4])>>8)
	id := binary.BigEndian.Uint32(f.header[5:]) & (1<<31 - 1)
	kind, flags := f.header[3], f.header[4]
	if kind == headers {
		f.current, f.whole, f.sent = id, flags&endStream != 0, 0
	}
	switch {
	case (kind == headers || kind == continuation) && flags&endHeaders != 0:
		f.opens = true
		f.ages.begun(id, time.Now())
	case kind == rstStream && f.ages.reset(id, time.Now()):
		f.resets++
	}
	switch {
	case kind == rstStream, kind == data && flags&endStream != 0:
		f.complete(id)
		if at, known := f.find(id); known {
			f.halves = slices.Delete(f.halves, at, at+1)
		}
	case kind == data:
		if c := f.awaited[id]; c != nil {
			c.part(f.skip)
		} else if id == f.current {
			f.sent += f.skip
		}
		if !f.count(id) {
			f.over = id
			f.ends(f.RemoteAddr())
		}
	}
}

// count counts a DATA frame that is not its call's last one. It returns false if the call has to end.
func (f *frameLimit) count(id uint32) bool {
	at, known := f.find(id)
	switch {
	case known && f.halves[at].left == callEnded:
		return true // gRPC drops frames of calls that it does not know
	case known && f.halves[at].left > 0:
		f.halves[at].left--
		return true
	case !known && id > f.dropped:
		f.halves = slices.Insert(f.halves, at, halfRequest{id, framesEach - 1})
		if len(f.halves) > maxHalfRequests {
			f.dropped = f.halves[0].id
			f.halves = slices.Delete(f.halves, 0, 1)
		}
		return true
	case f.spend():
		return true
	case known:
		f.halves[at].left = callEnded
	}
	return false
}

func (f *frameLimit) find(id uint32) (at int, known bool) {
	return slices.BinarySearchFunc(f.halves, id, func(h halfRequest, id uint32) int { return cmp.Compare(h.id, id) })
}

// spend takes one of the frames that all calls have together. It returns false if there is none.
func (f *frameLimit) spend() bool {
	const each = time.Second / framesEachSecond
	if n := time.Since(f.earned) / each; n > 0 {
		f.earned = f.earned.Add(n * each)
		f.saved = int(min(time.Duration(f.saved)+n, maxFramesAhead))
	}
	if f.saved == 0 {
		return false
	}
	f.saved--
	return true
}
