package redisstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"example.com/verification-status/server/internal/verification"
)

// listFormat is the layout of the lists: keys, scores, bounds. Whoever changes it adds one, and the
// next repair puts right what is there.
const listFormat = 1

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
	list   verification.List
	second string // see lua/lists.lua
}

// listChanges are the lists that a commit changes. What leaves all lists is taken out of each, also of
// those where a replica with another policy may have put it.
func (s *Store) listChanges(before, after verification.Session) []listChange {
	was, now := s.policy.Lists(before), s.policy.Lists(after)
	moved := before.UpdateTime != after.UpdateTime
	var changes []listChange
	for list := range verification.List(verification.ListCount) {
		switch {
		case now.Has(list) && (moved || !was.Has(list)):
			changes = append(changes, listChange{list, formatSecond(after.UpdateTime)})
		case !now.Has(list) && (was.Has(list) || now == 0):
			changes = append(changes, listChange{list, notListed})
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
		all[list] = listChange{list, notListed}
		if in.Has(list) {
			all[list].second = formatSecond(session.UpdateTime)
		}
	}
	return all
}

// listArguments are the keys and arguments of the lists' part of a script.
func (s *Store) listArguments(partition int, changes []listChange) (keys []string, args []any) {
	for _, change := range changes {
		keys = append(keys, s.keys.list(partition, change.list))
		args = append(args, change.second, listCap(change.list))
	}
	return keys, args
}

// listFingerprint tells what the lists depend on beside the records.
func listFingerprint(policy verification.RetryPolicy) string {
	codes := slices.Clone(policy.DenyCodes)
	slices.Sort(codes)
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %q", listFormat, policy.MaxRetries, slices.Compact(codes)))
	return hex.EncodeToString(sum[:8])
}

func formatSecond(second int64) string { return strconv.FormatInt(second, 10) }
