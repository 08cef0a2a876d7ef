package deploy

import (
	"strconv"
	"strings"
	"testing"
)

// What a replica takes, in bytes: server/docs/measurements.md, "Under load", and the setting CACHE_SESSIONS.
const (
	memoryAtStart        = 42_000_000
	memoryOfAWatch       = 13_200
	memoryOfACachedEntry = 2_000
)

// A pod that uses more than it requests is evicted first if its node runs out of memory. So the request holds as many watches and cached sessions as the
// settings allow. It is not much more than that, because nodes set it aside.
func (m *manifests) checkRequest(t *testing.T) {
	t.Helper()
	most := memoryAtStart + m.number(t, "GRPC_MAX_STREAMS")*memoryOfAWatch + m.number(t, "CACHE_SESSIONS")*memoryOfACachedEntry
	request, collect := mebibytes(t, m.server.Resources.Requests["memory"])<<20, mebibytes(t, strings.TrimSuffix(m.setting(t, "GOMEMLIMIT"), "B"))<<20
	if request < most || request > 3*most/2 || request > collect {
		t.Errorf("a memory request of %d bytes; watches and cache take up to %d, GOMEMLIMIT is %d", request, most, collect)
	}
}

// number returns a setting that is a whole number.
func (m *manifests) number(t *testing.T, name string) int {
	t.Helper()
	n, err := strconv.Atoi(m.setting(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// checkMemory fails the test if Go's own limit is not somewhat below the pod's, or if the request is not what the open watches and the cache take.
func (m *manifests) checkMemory(t *testing.T) {
	t.Helper()
	checkMemory(t, m.setting(t, "GOMEMLIMIT"), m.server.Resources.Limits["memory"])
	m.checkRequest(t)
}

func checkMemory(t *testing.T, goLimit, limit string) {
	t.Helper()
	if collect, most := mebibytes(t, strings.TrimSuffix(goLimit, "B")), mebibytes(t, limit); collect >= most || collect < most/2 {
		t.Errorf("GOMEMLIMIT of %d MiB, limit of %d MiB", collect, most)
	}
}

func mebibytes(t *testing.T, quantity string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimRight(quantity, "MGi"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(quantity, "Gi") {
		n *= 1024
	}
	return n
}
