package stripesim

import "testing"

// BenchmarkLife is what a load test costs the simulator for each session: made, submitted, verified,
// without delivery. Bytes include the events that are kept.
func BenchmarkLife(b *testing.B) {
	s, err := New(Config{APIKeys: []string{testKey}, ProcessingDelay: Immediately, BaseURL: "http://127.0.0.1:1", MaxSessions: 1 << 30, MaxEvents: 1000})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		sess, err := s.Create(NewSession{ClientReferenceID: "user-1"})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Submit(sess.ID, OutcomeVerified); err != nil {
			b.Fatal(err)
		}
	}
}
