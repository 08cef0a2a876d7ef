package grpcserver

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/net/http2"
)

// cutConn is a connection whose input comes in parts of random sizes.
type cutConn struct {
	someConn
	from   io.Reader
	random *rand.Rand
	most   int
}

func (c *cutConn) Read(p []byte) (int, error) {
	return c.from.Read(p[:min(len(p), 1+c.random.IntN(c.most))])
}

// TestRandomFramesPassUnchanged: random frames of 40 calls, cut at random, come out as they went in, with one frame more behind each DATA frame
// that is one too many. A model of few lines says which.
func TestRandomFramesPassUnchanged(t *testing.T) {
	for range 300 {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		sent, want, ends := randomFrames(t, random)
		for _, most := range []int{1, 7, 20, 5000} {
			ended := 0
			var from io.Reader = bytes.NewReader(sent)
			if random.IntN(2) == 0 {
				from = iotest.DataErrReader(from)
			}
			f := newFrameLimit(&cutConn{from: from, random: random, most: most}, func(net.Addr) { ended++ })
			f.saved, f.earned = 20, time.Now().Add(time.Hour)
			read := iotest.OneByteReader(io.Reader(f))
			if random.IntN(2) == 0 {
				read = f
			}
			got, err := io.ReadAll(read)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("seed %d, parts of %d: %d bytes became %d, want %d, or others; %v", seed, most, len(sent), len(got), len(want), err)
			}
			if ended != ends {
				t.Fatalf("seed %d, parts of %d: %d calls ended, want %d", seed, most, ended, ends)
			}
		}
	}
}

// randomFrames returns what a client sends, what gRPC must read, and how many calls end. The calls have 20 frames together.
func randomFrames(t *testing.T, random *rand.Rand) (sent, want []byte, ends int) {
	var out bytes.Buffer
	framer := http2.NewFramer(&out, nil)
	framer.AllowIllegalWrites = true
	check := func(errs ...error) {
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	pass := func() {
		sent, want = append(sent, out.Bytes()...), append(want, out.Bytes()...)
		out.Reset()
	}
	out.WriteString(http2.ClientPreface)
	check(framer.WriteSettings())
	pass()
	frames, over, saved := map[uint32]int{}, map[uint32]bool{}, 20
	for range random.IntN(2000) {
		id, block := uint32(1+2*random.IntN(40)), bytes.Repeat([]byte("x"), random.IntN(30))
		switch random.IntN(10) {
		case 0:
			check(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block}), framer.WriteContinuation(id, true, block))
		case 1:
			check(framer.WritePing(false, [8]byte{}), framer.WriteWindowUpdate(id, 1), framer.WriteSettingsAck())
		case 2:
			if random.IntN(4) > 0 {
				continue
			}
			delete(frames, id)
			delete(over, id)
			if random.IntN(2) == 0 {
				check(framer.WriteRSTStream(id, http2.ErrCodeCancel))
			} else {
				check(framer.WriteData(id, true, block))
			}
		default:
			check(framer.WriteDataPadded(id, false, block, [][]byte{nil, {}, make([]byte, 20)}[random.IntN(3)]))
			pass()
			switch frames[id]++; {
			case frames[id] <= framesEach || over[id]:
			case saved > 0:
				saved--
			default:
				over[id] = true
				ends++
				check(framer.WriteRawFrame(http2.FrameWindowUpdate, 0, id, []byte{0, 0, 0, 0}))
				want = append(want, out.Bytes()...)
				out.Reset()
			}
			continue
		}
		pass()
	}
	return sent, want, ends
}
