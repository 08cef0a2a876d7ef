package redisstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"example.com/verification-status/server/internal/verification"
)

// listFormat is the layout of the lists (keys, scores, bounds) and the rules by which a session is in
// them. A change of either adds one, and the next repair puts right what is there.
const listFormat = 2

// listNames are the lists' in keys; a name is never used for another meaning.
var listNames = [verification.ListCount]string{
	verification.ListRequiresInput: "requires_input",
	verification.ListProcessing:    "processing",
	verification.ListVerified:      "verified",
	verification.ListCanceled:      "canceled",
	verification.ListLimitReached:  "limit_reached",
	verification.ListNotRetryable:  "not_retryable",
	verification.ListInDoubt:       "in_doubt",
}

// maxSettled is how many sessions of a partition, the newest, the lists of the settled ones hold. Most
// sessions end there, and nothing must be left in memory for each for ever. Up to 128 members Redis
// packs a sorted set into 40 bytes each; beyond, it takes three times as much and stays so. Fewer
// are kept, since an entry is put in before the oldest goes.
const maxSettled = 120

// listCap is how many members a list of one partition keeps; 0: any number.
func listCap(list verification.List) int {
	if list == verification.ListVerified || list == verification.ListCanceled {
		return maxSettled
	}
	return 0
}

// listChange is one list that a commit changes.
type listChange struct {
	list           verification.List
	second, former string // as lua/lists.lua and lua/commit.lua have them
}

// listChanges are the lists that a commit changes. What leaves all lists is taken out of each, also of
// those where a replica with another policy may have put it.
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

// notListed stands for a second where a session does not belong in a list.
const notListed = "-"

// listings are what all lists should say of a session.
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

// listFingerprint tells what the lists depend on beside the records.
func listFingerprint(policy verification.RetryPolicy) string {
	codes := slices.Clone(policy.DenyCodes)
	slices.Sort(codes)
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %q", listFormat, policy.MaxRetries, slices.Compact(codes)))
	return hex.EncodeToString(sum[:8])
}

func formatSecond(second int64) string { return strconv.FormatInt(second, 10) }
