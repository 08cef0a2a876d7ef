// Package docs holds the documents to the code: what their tables, recipes and walks say, the server does.
package docs

import (
	"testing"

	"example.com/verification-status/server/tests/rig"
)

func TestMain(m *testing.M) { rig.Main(m, rig.Room{Parallel: 4}) }
