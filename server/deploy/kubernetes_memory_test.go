package deploy

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/document"
)

const (
	// memoryOfACachedEntry is what the setting CACHE_SESSIONS says, in bytes.
	memoryOfACachedEntry = 2_000

	// The garbage collector's headroom in MiB: an eighth of GOMEMLIMIT, within bounds. The measurements are with the least one.
	headroomShare, leastHeadroom, mostHeadroom = 8, 48, 256
)

// A pod that uses more than it requests is evicted first if its node runs out of memory. So the request holds as many watches as the settings allow, with
// traffic, and the cached sessions that nobody watches. It is not much more than that, because nodes set it aside.
func (m *manifests) checkRequest(t *testing.T) {
	t.Helper()
	request, collect := mebibytes(t, m.server.Resources.Requests["memory"]), mebibytes(t, strings.TrimSuffix(m.setting(t, "GOMEMLIMIT"), "B"))
	watches, cached := m.number(t, "GRPC_MAX_STREAMS"), m.number(t, "CACHE_SESSIONS")
	start, busy := measuredMiB(t, "ready, with 200 connections and no stream"), measuredMiB(t, "after 20,000 webhooks, 970 a second")
	most := start + (busy-start)*watches/20_000 + max(cached-watches, 0)*memoryOfACachedEntry>>20 +
		min(max(collect/headroomShare, leastHeadroom), mostHeadroom) - leastHeadroom
	if request < most || request > 5*most/4 || request > collect {
		t.Errorf("a memory request of %d MiB; watches with traffic, cache and garbage take up to %d, GOMEMLIMIT is %d", request, most, collect)
	}
}

// measuredMiB returns a figure of the measurement of 20,000 open watches. Their sessions are in the cache.
func measuredMiB(t *testing.T, what string) int {
	t.Helper()
	row := regexp.MustCompile(`\| ` + what + ` \| (\d+) MiB \|`).FindStringSubmatch(document.Text(t, "server/docs/measurements.md"))
	if row == nil {
		t.Fatalf("measurements.md has no row %q", what)
	}
	n, err := strconv.Atoi(row[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
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
