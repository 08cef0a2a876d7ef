package client

import (
	"bytes"
	"io"
	"math"
	"net"
	"testing"
	"testing/iotest"

	"golang.org/x/net/http2"
)

// readerConn is a connection on which only reading is possible.
type readerConn struct {
	net.Conn
	io.Reader
}

func (c readerConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// TestTheAnnouncedLimitIsRead: whole, byte by byte, and beside other settings. Another frame changes nothing.
func TestTheAnnouncedLimitIsRead(t *testing.T) {
	settings := func(all ...http2.Setting) func(*http2.Framer) error {
		return func(f *http2.Framer) error { return f.WriteSettings(all...) }
	}
	window := http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535}
	for name, test := range map[string]struct {
		write func(*http2.Framer) error
		want  int
	}{
		"nginx":         {settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 128}, window), 128},
		"HAProxy":       {settings(window, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100}), 100},
		"no limit":      {settings(window), math.MaxInt32},
		"no setting":    {settings(), math.MaxInt32},
		"greatest":      {settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: math.MaxUint32}), math.MaxInt32},
		"zero":          {settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0}), 1},
		"another frame": {func(f *http2.Framer) error { return f.WritePing(false, [8]byte{}) }, unknownLimit},
	} {
		var sent bytes.Buffer
		framer := http2.NewFramer(&sent, nil)
		if err := test.write(framer); err != nil {
			t.Fatal(err)
		}
		if err := framer.WritePing(false, [8]byte{1}); err != nil {
			t.Fatal(err)
		}
		for way, reader := range map[string]io.Reader{"whole": bytes.NewReader(sent.Bytes()), "byte by byte": iotest.OneByteReader(bytes.NewReader(sent.Bytes()))} {
			limit := new(streamLimit)
			got, err := io.ReadAll(&settingsReader{Conn: readerConn{Reader: reader}, limit: limit})
			if err != nil || !bytes.Equal(got, sent.Bytes()) {
				t.Errorf("%s, %s: read %x, %v; want what was sent, %x", name, way, got, err, sent.Bytes())
			}
			if limit.announced() != test.want {
				t.Errorf("%s, %s: limit %d; want %d", name, way, limit.announced(), test.want)
			}
		}
	}
}

// FuzzSettings: no bytes from the server break the reader or change what the connection reads.
func FuzzSettings(f *testing.F) {
	f.Add([]byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100})
	f.Add([]byte{0, 0, 7, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100, 0})
	f.Add([]byte{255, 255, 255, 4, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, sent []byte) {
		limit := new(streamLimit)
		got, err := io.ReadAll(&settingsReader{Conn: readerConn{Reader: bytes.NewReader(sent)}, limit: limit})
		if err != nil || !bytes.Equal(got, sent) || limit.room(true) < 1 || limit.room(false) < limit.room(true) {
			t.Errorf("%x: read %x, %v, limit %d", sent, got, err, limit.announced())
		}
	})
}

func TestRoomIsLeftToCallsAndToTheHealthWatch(t *testing.T) {
	for announced, want := range map[uint32][2]int{1: {1, 1}, 2: {1, 1}, 10: {8, 9}, 100: {89, 99}, 128: {115, 127}, 10_000: {8999, 9999}} {
		limit := new(streamLimit)
		limit.known.Store(announced)
		if got := [2]int{limit.room(true), limit.room(false)}; got != want {
			t.Errorf("of %d: %d watches, %d calls; want %v", announced, got[0], got[1], want)
		}
	}
}
