//go:build load

package load

import (
	"os"
	"testing"

	"example.com/verification-status/server/tests/rig"
)

func TestMain(m *testing.M) {
	if os.Getenv(envIsConsumers) != "" {
		os.Exit(runConsumers())
	}
	if os.Getenv(envIsMemoryClient) != "" {
		os.Exit(runMemoryClient())
	}
	rig.Main(m, rig.Room{})
}
