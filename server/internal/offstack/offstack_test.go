package offstack_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"example.com/verification-status/server/internal/offstack"
	"example.com/verification-status/server/internal/testing/await"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestErrIsTheFunctionsError(t *testing.T) {
	planted := errors.New("on purpose")
	for _, want := range []error{nil, planted} {
		if got := await.One(t, offstack.Go(func() error { return want })).Err(); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func panics() error { panic("on purpose") }

// TestAPanicReachesTheCaller, with the stack where it was. So does a Goexit, which must not look like a
// function that returned no error.
func TestAPanicReachesTheCaller(t *testing.T) {
	for name, test := range map[string]struct {
		run   func() error
		value any
		at    string
	}{
		"a panic":  {panics, "on purpose", "offstack_test.panics("},
		"a Goexit": {func() error { runtime.Goexit(); return nil }, nil, "runtime.Goexit("},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				carried, ok := recover().(*offstack.Panic)
				if !ok {
					t.Fatal("recovered something else")
				}
				if carried.Value != test.value || !strings.Contains(carried.String(), test.at) {
					t.Errorf("recovered %v, want %v at %s", carried, test.value, test.at)
				}
			}()
			err := await.One(t, offstack.Go(test.run)).Err()
			t.Errorf("Err returned %v", err)
		})
	}
}

// TestTheCallerNeedNotWait: a function that no caller waits for ends too; goleak checks at the end.
func TestTheCallerNeedNotWait(*testing.T) {
	offstack.Go(func() error { return nil })
	offstack.Go(panics)
}
