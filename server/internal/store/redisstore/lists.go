package redisstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"example.com/verification-status/server/internal/verification"
)

// listFormat is the version of the lists: their layout (keys, scores, bounds) and the rules by which a session is in a list. Add one
// with each change. The next repair then updates all lists.
const listFormat = 3

// listNames holds the names of the lists in keys. Never use a name for another meaning.
var listNames = [verification.ListCount]string{
	verification.ListRequiresInput: "requires_input",
	verification.ListProcessing:    "processing",
	verification.ListVerified:      "verified",
	verification.ListCanceled:      "canceled",
	verification.ListLimitReached:  "limit_reached",
	verification.ListNotRetryable:  "not_retryable",
	verification.ListInDoubt:       "in_doubt",
}

// maxSettled is how many of the newest sessions of a partition a list of settled sessions holds. Most sessions end in these lists,
// and Redis must not hold an entry for each of them forever. Redis packs a sorted set of up to 128 members into 40 bytes each.
// A larger set takes three times as much, even after it has become smaller. maxSettled is below 128, because an entry is added
// before the oldest one is removed.
const maxSettled = 120

// listCap returns how many members a list of one partition keeps. 0 means all.
func listCap(list verification.List) int {
	if list == verification.ListVerified || list == verification.ListCanceled {
		return maxSettled
	}
	return 0
}

// listChange is the change of one list by a commit.
type listChange struct {
	list           verification.List
	second, former string // the new and the old score, as in lua/lists.lua and lua/commit.lua
}

// listChanges returns the lists that a commit changes. A session that leaves all lists is removed from every list, because a
// replica with another policy can have added it to any of them.
func (s *Store) listChanges(before, after verification.Session) []listChange {
	was, now := s.policy.Lists(before), s.policy.Lists(after)
	moved := before.UpdateTime != after.UpdateTime
	secondWas, secondNow := formatSecond(before.UpdateTime), formatSecond(after.UpdateTime)
	var changes []listChange
	for list := range verification.List(verification.ListCount) {
		change := listChange{list, notListed, notListed}
		if was.Has(list) {
			change.former = secondWas
		}
		if now.Has(list) {
			change.second = secondNow
		}
		if now.Has(list) && (moved || !was.Has(list)) || !now.Has(list) && (was.Has(list) || now == 0) {
			changes = append(changes, change)
		}
	}
	return changes
}

// notListed is the score of a session that does not belong in a list.
const notListed = "-"

// listings returns the right change for a session in each list.
func (s *Store) listings(session verification.Session) []listChange {
	in := s.policy.Lists(session)
	all := make([]listChange, verification.ListCount)
	for list := range verification.List(verification.ListCount) {
		all[list] = listChange{list: list, second: notListed}
		if in.Has(list) {
			all[list].second = formatSecond(session.UpdateTime)
		}
	}
	return all
}

// listFingerprint returns a hash of everything that the lists depend on besides the records.
func listFingerprint(policy verification.RetryPolicy) string {
	codes := slices.Clone(policy.DenyCodes)
	slices.Sort(codes)
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %q", listFormat, policy.MaxRetries, slices.Compact(codes)))
	return hex.EncodeToString(sum[:8])
}

func formatSecond(second int64) string { return strconv.FormatInt(second, 10) }
