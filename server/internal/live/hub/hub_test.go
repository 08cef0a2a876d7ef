package hub_test

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"example.com/verification-status/server/internal/live/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func woken(s *hub.Subscription) bool {
	select {
	case <-s.C():
		return true
	default:
		return false
	}
}

func TestWakesOnlyItsTopic(t *testing.T) {
	h := hub.New()
	a, b := h.Subscribe(hub.Session("vs_a")), h.Subscribe(hub.Session("vs_b"), hub.Reference("vs_a"))
	defer a.Close()
	defer b.Close()

	if !h.Wake(hub.Session("vs_a")) || h.Wake(hub.Session("vs_c")) || h.Wake(hub.Partition(0)) {
		t.Error("Wake must tell whether anyone listens")
	}
	if !woken(a) || woken(b) {
		t.Fatal("the session's watcher must be woken, and nobody else: a reference of the same name is another topic")
	}
}

// Wake-ups that coincide are one, and none that comes after a receive is lost.
func TestWakeUpsCoalesce(t *testing.T) {
	h := hub.New()
	s := h.Subscribe(hub.Session("vs_a"))
	defer s.Close()

	for range 1000 {
		h.Wake(hub.Session("vs_a"))
	}
	if !woken(s) || woken(s) {
		t.Fatal("want exactly one wake-up for those before the receive")
	}
	h.Wake(hub.Session("vs_a"))
	if !woken(s) {
		t.Fatal("a wake-up after the receive was lost")
	}
}

func TestWokenTellsWhichTopics(t *testing.T) {
	h := hub.New()
	var topics []hub.Topic
	for partition := range 16 {
		topics = append(topics, hub.Partition(partition))
	}
	s := h.Subscribe(topics...)
	defer s.Close()

	h.Wake(hub.Partition(3))
	h.Wake(hub.Partition(15))
	if got := s.Woken(); got != 1<<3|1<<15 {
		t.Fatalf("woken = %b", got)
	}
	if got := s.Woken(); got != 0 {
		t.Fatalf("woken again = %b, want none", got)
	}
	h.WakeAll()
	if got := s.Woken(); got != 1<<16-1 {
		t.Fatalf("after WakeAll: woken = %b", got)
	}
}

func TestRemoveAndCloseEndListening(t *testing.T) {
	h := hub.New()
	s := h.Subscribe(hub.Session("vs_a"), hub.Reference("r"))
	s.Add(hub.Session("vs_a")) // again: still one
	if got := h.Listening(hub.KindSession); got != 1 {
		t.Fatalf("listening to sessions: %d, want 1", got)
	}
	s.Remove(hub.Session("vs_a"))
	s.Remove(hub.Session("vs_other")) // never listened to
	h.Wake(hub.Session("vs_a"))
	if woken(s) {
		t.Fatal("woken by a topic that was removed")
	}
	h.Wake(hub.Reference("r"))
	if !woken(s) {
		t.Fatal("removing one topic must leave the other")
	}
	s.Close()
	for _, kind := range []hub.Kind{hub.KindSession, hub.KindReference, hub.KindPartition} {
		if got := h.Listening(kind); got != 0 {
			t.Fatalf("kind %d: %d listeners after Close", kind, got)
		}
	}
}

// No subscription misses a wake-up that comes after it, whatever else happens.
func TestNoLostWakeUpUnderConcurrency(t *testing.T) {
	h := hub.New()
	const watchers, rounds = 32, 200
	var ready, done sync.WaitGroup
	for range watchers {
		ready.Add(1)
		done.Go(func() {
			s := h.Subscribe(hub.Session("vs_a"))
			defer s.Close()
			ready.Done()
			select {
			case <-s.C():
			case <-time.After(time.Minute):
				t.Error("the wake-up was lost")
			}
		})
	}
	var noise sync.WaitGroup
	for i := range 4 {
		noise.Go(func() {
			for range rounds {
				s := h.Subscribe(hub.Session("vs_a"), hub.Partition(i))
				h.Wake(hub.Session("vs_b"))
				s.Close()
			}
		})
	}
	ready.Wait()
	h.Wake(hub.Session("vs_a"))
	done.Wait()
	noise.Wait()
	if got := h.Listening(hub.KindSession); got != 0 {
		t.Fatalf("%d subscriptions left", got)
	}
}

// The counts are those of a plain set, whatever the order of calls.
func TestListeningCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := hub.New()
		s := h.Subscribe()
		model := map[hub.Topic]bool{}
		for range rapid.IntRange(1, 50).Draw(t, "calls") {
			topic := hub.Topic{
				Kind: hub.Kind(rapid.IntRange(0, 2).Draw(t, "kind")),
				Name: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"),
			}
			if rapid.Bool().Draw(t, "add") {
				s.Add(topic)
				model[topic] = true
			} else {
				s.Remove(topic)
				delete(model, topic)
			}
		}
		counts := map[hub.Kind]int{}
		for topic := range model {
			counts[topic.Kind]++
			h.Wake(topic)
			if !woken(s) {
				t.Fatalf("%v is listened to, but does not wake", topic)
			}
		}
		for kind := range hub.Kind(3) {
			if got := h.Listening(kind); got != counts[kind] {
				t.Fatalf("kind %d: listening %d, want %d", kind, got, counts[kind])
			}
		}
	})
}

// Whatever the order in which several come and go, a wake-up reaches exactly those who listen.
func TestWakesExactlyTheSubscribers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := hub.New()
		subscriptions := make([]*hub.Subscription, 4)
		listens := make([]map[hub.Topic]bool, len(subscriptions))
		for i := range subscriptions {
			subscriptions[i], listens[i] = h.Subscribe(), make(map[hub.Topic]bool)
		}
		topics := []hub.Topic{hub.Session("a"), hub.Session("b"), hub.Partition(1)}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			who := rapid.IntRange(0, len(subscriptions)-1).Draw(t, "who")
			topic := rapid.SampledFrom(topics).Draw(t, "topic")
			switch rapid.SampledFrom([]string{"add", "remove", "wake", "close"}).Draw(t, "step") {
			case "add":
				subscriptions[who].Add(topic)
				listens[who][topic] = true
			case "remove":
				subscriptions[who].Remove(topic)
				delete(listens[who], topic)
			case "close":
				subscriptions[who].Close()
				clear(listens[who])
			case "wake":
				h.Wake(topic)
				for i, s := range subscriptions {
					bits := s.Woken()
					if got := woken(s); got != listens[i][topic] || (bits != 0) != got {
						t.Fatalf("%v woke %d: %t (%b), it listens: %t", topic, i, got, bits, listens[i][topic])
					}
				}
			}
		}
	})
}

func TestAPokeHasNoTopic(t *testing.T) {
	h := hub.New()
	s, other := h.Subscribe(hub.Session("vs_a")), h.Subscribe(hub.Session("vs_a"))
	defer s.Close()
	defer other.Close()
	s.Poke()
	s.Poke()
	if !woken(s) || woken(s) || s.Woken() != 0 || woken(other) {
		t.Fatal("want one wake-up without a topic, for this one alone")
	}
}
