package grpcserver

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/testing/await"
)

// openMeter counts calls: those that have begun, and those that are open.
type openMeter struct{ begun, open atomic.Int64 }

func (m *openMeter) Method(name string) MethodMeter { return methodCount{m, name == unknownMethod} }

type methodCount struct {
	*openMeter
	unknown bool // its calls are never reported as ended
}

func (m methodCount) Started() {
	m.begun.Add(1)
	if !m.unknown {
		m.open.Add(1)
	}
}
func (m methodCount) Ended(string, time.Duration, int64, int64) { m.open.Add(-1) }
func (methodCount) Refused(string)                              {}

// flooded is a server behind a listener with a limit, whose callers have the header "welcome" with their name.
type flooded struct {
	*running
	meter openMeter
	shed  sync.Map // number of reports by setting: *atomic.Int64
}

func startFlooded(t *testing.T, config Config, service *fake) *flooded {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &flooded{}
	nobody := func(ctx context.Context) context.Context { return ctx }
	config.Access, config.Meter, config.SharePercent = door{gate{nobody}}, &f.meter, 25
	config.Shed = func(_ context.Context, _, setting string) {
		count, _ := f.shed.LoadOrStore(setting, &atomic.Int64{})
		count.(*atomic.Int64).Add(1)
	}
	f.running = start(t, config, service, connlimit.New(listener, 1000, 0, func() {}))
	return f
}

func (f *flooded) sheds(setting string) int64 {
	count, ok := f.shed.Load(setting)
	if !ok {
		return 0
	}
	return count.(*atomic.Int64).Load()
}

// dial returns a bare connection that reads nothing by itself.
func (f *flooded) dial(t *testing.T) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", f.conn.Target())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(3 * testTimeout))
	return newWire(t, conn)
}

// admitted makes a whole call of a caller on the connection and waits for its end.
func (w *wire) admitted(t *testing.T) {
	t.Helper()
	err := errors.Join(w.headers(getStatus, welcome1), w.message())
	if end := w.ended(); err != nil || end != "trailers" {
		t.Fatalf("a caller's call: %s, %v", end, err)
	}
	w.id += 2
}

var welcome1 = hpack.HeaderField{Name: "welcome", Value: "caller-1"}

func welcomedAs(ctx context.Context, name string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "welcome", name)
}

// The floods of single connections. Each sends one call.
var floods = map[string]func(w *wire) error{
	"unknown method": func(w *wire) error { return errors.Join(w.headers("/x/y"), w.framer.WriteData(w.id, true, nil)) },
	"no credentials": func(w *wire) error { return errors.Join(w.headers(getStatus), w.message()) },
	"reset": func(w *wire) error {
		return errors.Join(w.headers(getStatus), w.framer.WriteRSTStream(w.id, http2.ErrCodeCancel))
	},
	"health check": func(w *wire) error {
		return errors.Join(w.headers(healthpb.Health_Check_FullMethodName), w.framer.WriteData(w.id, true, make([]byte, 5)))
	},
}

// TestG15_FloodsOfCallsWithoutACallerAreReadSlowly: four connections send calls as fast as they can, and a caller on another connection is
// served. What begins of them is bounded by the rate, so hardly any are open.
func TestG15_FloodsOfCallsWithoutACallerAreReadSlowly(t *testing.T) {
	for name, send := range floods {
		t.Run(name, func(t *testing.T) {
			s := startFlooded(t, Config{}, &fake{get: echo})
			const attackers, calls, others = 4, 5000, 300
			began := time.Now()
			var attack sync.WaitGroup
			for range attackers {
				w := s.dial(t)
				go func() { _, _ = io.Copy(io.Discard, w.conn) }()
				attack.Go(func() {
					for range calls {
						if send(w) != nil {
							return // the test is over
						}
						w.id += 2
					}
				})
				defer attack.Wait()
				defer w.conn.Close()
			}
			most := int64(0)
			for range others {
				if _, err := s.client.GetStatus(welcomedAs(patient(t), "caller-1"), sessionRequest("vs_1")); err != nil {
					t.Fatalf("a caller meanwhile: %v", err)
				}
				most = max(most, s.meter.open.Load())
			}
			eventually(t, "the flood is read slowly", func() bool { return s.sheds(paceSetting) >= attackers })
			begun, passed := s.meter.begun.Load()-others, time.Since(began)
			allowed := int64(attackers * (100 + 50*(passed.Seconds()+1)))
			t.Logf("%d of %d calls began in %v, %d were open at once at the most", begun, attackers*calls, passed, most)
			if begun > allowed {
				t.Errorf("%d calls of the flood began within %v, want at most %d", begun, passed, allowed)
			}
			if most > attackers*100 {
				t.Errorf("%d calls were open at once", most)
			}
		})
	}
}

// TestG15_ANewcomerThatIsBehindIsClosed: a client whose credentials come late must not wait behind the calls that it sent without them.
func TestG15_ANewcomerThatIsBehindIsClosed(t *testing.T) {
	t.Parallel() // it takes longestBehind
	s := startFlooded(t, Config{}, &fake{get: echo})
	w := s.dial(t)
	began, closed := time.Now(), make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, w.conn)
		closed <- err
	}()
	go func() {
		for floods["no credentials"](w) == nil {
			w.id += 2
		}
	}()
	if err := await.One(t, closed); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection was not closed: %v", err)
	}
	if after := time.Since(began); after < longestBehind {
		t.Errorf("the connection was closed after %v, want %v at least", after, longestBehind)
	}
}

// TestG15_ACallersRapidResetsAreReadSlowly, and another caller is served.
func TestG15_ACallersRapidResetsAreReadSlowly(t *testing.T) {
	s := startFlooded(t, Config{}, &fake{get: echo})
	w := s.dial(t)
	w.admitted(t)
	go func() { _, _ = io.Copy(io.Discard, w.conn) }()
	const calls, others = 60_000, 100
	began := time.Now()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range calls {
			if w.headers(getStatus, welcome1) != nil || w.framer.WriteRSTStream(w.id, http2.ErrCodeCancel) != nil {
				return // the test is over
			}
			w.id += 2
		}
	}()
	eventually(t, "the flood is read slowly", func() bool { return s.sheds(paceSetting) > 0 })
	for range others {
		if _, err := s.client.GetStatus(welcomedAs(patient(t), "caller-2"), sessionRequest("vs_1")); err != nil {
			t.Fatalf("another caller meanwhile: %v", err)
		}
	}
	begun, passed := s.meter.begun.Load()-others, time.Since(began)
	if allowed := int64(5000 + 5000*(passed.Seconds()+1)); begun > allowed {
		t.Errorf("%d calls began within %v, want at most %d", begun, passed, allowed)
	}
	_ = w.conn.Close()
	await.One(t, sent)
}

// TestG15_ASharedConnectionServesItsCallers: a proxy passes on hundreds of calls without credentials on the connection of a caller. All of them
// are answered, at once, and so is the caller.
func TestG15_ASharedConnectionServesItsCallers(t *testing.T) {
	s := startFlooded(t, Config{}, &fake{get: echo})
	w := s.dial(t)
	w.admitted(t)
	const calls = 1500
	go func() {
		for n := range calls {
			if n%100 == 0 {
				_ = errors.Join(w.headers(getStatus, welcome1), w.message())
			} else {
				_ = errors.Join(w.headers(getStatus), w.message())
			}
			w.id += 2
		}
	}()
	for n := range calls {
		if end := w.ended(); end != "trailers" {
			t.Fatalf("after %d calls: %s", n, end)
		}
	}
	if got := s.sheds(paceSetting); got != 0 {
		t.Errorf("the connection was slowed %d times, want never", got)
	}
}

// TestG15_HalfRequestsAreBoundedOnUsedConnections: a caller and a client without credentials on the caller's connection send halves of
// requests. Each keeps its share of them, the others end, and other calls are served.
func TestG15_HalfRequestsAreBoundedOnUsedConnections(t *testing.T) {
	for name, test := range map[string]struct {
		headers []hpack.HeaderField
		left    int64
	}{
		"a caller":            {[]hpack.HeaderField{welcome1}, maxHalf / 4},
		"without credentials": {nil, maxHalf / 64},
	} {
		t.Run(name, func(t *testing.T) {
			s := startFlooded(t, Config{}, &fake{get: echo})
			w := s.dial(t)
			w.admitted(t)
			read := make(chan struct{})
			go func() {
				defer close(read)
				_, _ = io.Copy(io.Discard, w.conn)
			}()
			const calls = 1500
			headers := append(slices.Clone(test.headers), hpack.HeaderField{Name: "grpc-timeout", Value: "30S"})
			for range calls {
				if err := errors.Join(w.headers(getStatus, headers...), w.framer.WriteData(w.id, false, []byte{0, 0, 0, 0xff, 0, 1})); err != nil {
					t.Fatal(err)
				}
				w.id += 2
			}
			eventually(t, "all calls have begun", func() bool { return s.meter.begun.Load() == calls+1 })
			eventually(t, "the others have ended", func() bool { return s.meter.open.Load() <= test.left })
			if got := s.meter.open.Load(); got != test.left {
				t.Errorf("%d calls are open, want the share: %d", got, test.left)
			}
			if got, want := s.sheds(halfSetting), calls-test.left; got != want {
				t.Errorf("%d ends were reported, want %d", got, want)
			}
			if err := errors.Join(w.headers(getStatus, welcome1), w.message()); err != nil {
				t.Fatal(err)
			}
			for _, caller := range []string{"caller-1", "caller-2"} {
				if _, err := s.client.GetStatus(welcomedAs(patient(t), caller), sessionRequest("vs_1")); err != nil {
					t.Errorf("%s meanwhile: %v", caller, err)
				}
			}
			eventually(t, "the connection's own caller is served", func() bool { return s.meter.begun.Load() == calls+4 && s.meter.open.Load() == test.left })
			_ = w.conn.Close()
			await.One(t, read)
			eventually(t, "nothing is left", func() bool {
				return s.meter.open.Load() == 0 && s.half.Taken() == 0 && s.shortHalf.Taken() == 0
			})
		})
	}
}

// TestG15_AThousandCallsAtOnceLoseNone: of one caller, on one new connection.
func TestG15_AThousandCallsAtOnceLoseNone(t *testing.T) {
	const calls = 1000
	var watching sync.WaitGroup
	watching.Add(calls)
	s := startFlooded(t, Config{MaxInFlight: 4 * calls}, &fake{
		get: echo,
		watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
			watching.Done()
			watching.Wait() // all are open at once
			return stream.Send(&verificationv1.WatchStatusResponse{})
		},
	})
	for name, call := range map[string]func(context.Context, verificationv1.VerificationServiceClient) error{
		"GetStatus": func(ctx context.Context, client verificationv1.VerificationServiceClient) error {
			_, err := client.GetStatus(ctx, sessionRequest("vs_1"))
			return err
		},
		"WatchStatus": func(ctx context.Context, client verificationv1.VerificationServiceClient) error {
			stream, err := client.WatchStatus(ctx, &verificationv1.WatchStatusRequest{})
			if err != nil {
				return err
			}
			_, err = stream.Recv()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := verificationv1.NewVerificationServiceClient(s.another(t))
			ctx := welcomedAs(patient(t), "caller-1")
			results, start := make(chan error, calls), make(chan struct{})
			for range calls {
				go func() {
					<-start
					results <- call(ctx, client)
				}()
			}
			close(start)
			var lost []string
			for range calls {
				if err := <-results; err != nil {
					lost = append(lost, err.Error())
				}
			}
			if len(lost) > 0 {
				t.Errorf("%d of %d calls were lost, such as: %s", len(lost), calls, strings.Join(lost[:1], ""))
			}
		})
	}
	if got := s.sheds(halfSetting) + s.sheds(paceSetting); got != 0 {
		t.Errorf("%d calls were ended or slowed, want 0", got)
	}
}

// TestG15_ALongHalfRequestBeyondTheShareEnds: a caller that is over its share of half requests has more of them only while they are short. The
// watch that sends more ends with UNAVAILABLE: a client would take CANCELED for its own doing.
func TestG15_ALongHalfRequestBeyondTheShareEnds(t *testing.T) {
	s := startFlooded(t, Config{}, &fake{get: echo})
	w := s.dial(t)
	w.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for range maxHalf / 4 {
		if err := w.headers(watchStatus, welcome1); err != nil {
			t.Fatal(err)
		}
		w.id += 2
	}
	half := append([]byte{0, 0, 0, 0xff, 0}, make([]byte, shortHalfBytes)...)
	if err := errors.Join(w.headers(watchStatus, welcome1), w.framer.WriteData(w.id, false, half)); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := w.framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if end, ok := frame.(*http2.MetaHeadersFrame); ok {
			code := slices.IndexFunc(end.Fields, func(f hpack.HeaderField) bool { return f.Name == "grpc-status" })
			if end.StreamID != w.id || code < 0 || end.Fields[code].Value != "14" {
				t.Errorf("stream %d ended with %v; want %d with grpc-status 14", end.StreamID, end.Fields, w.id)
			}
			return
		}
	}
}
