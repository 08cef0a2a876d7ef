package rig

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// Room says how the tests of a package run.
type Room struct {
	// Parallel is how many of the tests that call t.Parallel run at once. With zero, the flag -parallel decides.
	Parallel int
	// LeftOut says what -short leaves out. With -short Main prints it and runs no test. If it is empty, -short runs the room.
	LeftOut string
}

// Main runs the tests of a room and fails if they leave a goroutine behind. In a process that Launch started it is the server
// instead. It does not return.
func Main(m *testing.M, room Room) {
	if os.Getenv(envIsServer) != "" {
		os.Exit(runServer())
	}
	flag.Parse()
	if testing.Short() && room.LeftOut != "" {
		fmt.Println("left out: " + room.LeftOut)
		os.Exit(0)
	}
	if room.Parallel > 0 {
		if err := flag.Set("test.parallel", strconv.Itoa(room.Parallel)); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if nodeClient.root != "" {
			_ = os.RemoveAll(nodeClient.root)
		}
		os.Exit(code)
	}))
}

// SkipShort skips a test with -short, and says what the test needs time for. It is for rooms that Main does not leave out.
func SkipShort(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip(why + "; without -short: go test -count=1")
	}
}

// Path returns the path of a file of the repository, from the directory in which the tests of a room run.
func Path(elements ...string) string {
	return filepath.Join(append([]string{"..", "..", ".."}, elements...)...)
}
