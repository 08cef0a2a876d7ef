package turn_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/turn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestATurnReturnsWhatItReturned(t *testing.T) {
	planted := errors.New("planted")
	for _, want := range []error{nil, planted} {
		if got := await.One(t, turn.Begin(func() error { return want })).Err(); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func plant() error { panic("planted") }

// TestAPanicIsOfWhoeverBeganTheTurn, and says where it was. So is the end of the goroutine, which must not
// be taken for a turn without an error.
func TestAPanicIsOfWhoeverBeganTheTurn(t *testing.T) {
	for name, test := range map[string]struct {
		take  func() error
		value any
		at    string
	}{
		"a panic":  {plant, "planted", "turn_test.plant("},
		"a Goexit": {func() error { runtime.Goexit(); return nil }, nil, "runtime.Goexit("},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				carried, ok := recover().(*turn.Panic)
				if !ok {
					t.Fatal("recovered something else")
				}
				if carried.Value != test.value || !strings.Contains(carried.String(), test.at) {
					t.Errorf("recovered %v, want %v at %s", carried, test.value, test.at)
				}
			}()
			err := await.One(t, turn.Begin(test.take)).Err()
			t.Errorf("the turn returned %v", err)
		})
	}
}

// TestNobodyMustWait: a turn that nobody waits for ends all the same; goleak looks at the end.
func TestNobodyMustWait(*testing.T) {
	turn.Begin(func() error { return nil })
	turn.Begin(plant)
}
