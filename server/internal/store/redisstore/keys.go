package redisstore

import (
	"crypto/sha256"
	"encoding/base64"
	"hash/fnv"

	"example.com/verification-status/server/internal/verification"
)

// partitions is the number of partitions in every mode, so that moving to a Cluster moves no
// session to another key. Changing it, the tags or the hash is a migration: Prepare refuses data
// that were written with another number.
const partitions = 16

// tags are the hash tags of the partitions. The slot of tags[i] is in the middle of the i-th
// sixteenth of all slots: any number of masters up to 16 with slot ranges of the same size gets the
// same number of partitions, give or take one. Plain {0} to {15} would leave some masters idle.
var tags = [partitions]string{
	"p852", "p942", "p769", "p679", "p844", "p954", "p192", "p082",
	"p484", "p594", "p904", "p814", "p629", "p739", "p409", "p519",
}

// partitionOf is FNV-1a (32 bits) of the session id, modulo the number of partitions.
func partitionOf(sessionID string) int {
	hash := fnv.New32a()
	hash.Write([]byte(sessionID))
	return int(hash.Sum32() % partitions)
}

// keys are every key of this package. Those of one partition share a hash tag, so that one script
// may touch them on a Cluster.
type keys struct {
	prefix     string
	partitions [partitions]partitionKeys
}

// partitionKeys are the keys of one partition.
type partitionKeys struct {
	records string // what the keys of its records begin with
	feed    string
	meta    string
	due     string
	probe   string
	lists   [verification.ListCount]string
}

func newKeys(prefix string) *keys {
	k := &keys{prefix: prefix}
	for n, tag := range tags {
		begin := prefix + "{" + tag + "}:"
		of := partitionKeys{records: begin + "s:", feed: begin + "feed", meta: begin + "meta", due: begin + "due", probe: begin + "probe"}
		for list, name := range listNames {
			of.lists[list] = begin + "l:" + name
		}
		k.partitions[n] = of
	}
	return k
}

// record is a STRING: header and body, see codec_record.go.
func (k *keys) record(sessionID string) string {
	return k.partitions[partitionOf(sessionID)].records + sessionID
}

// feed is a STREAM: ids "<seq>-0", fields s (session id), r (revision), n (nonce), b (nonce of the entry
// before, "0" for the first), t (Unix second of the commit), c (trace, if it is kept) and p where the
// reference may now lead to the session.
func (k *keys) feed(partition int) string { return k.partitions[partition].feed }

// meta is a HASH: epoch, seq and nonce of the newest feed entry, partitions, format; since, if known, a Unix
// second before which no entry is due to be removed.
func (k *keys) meta(partition int) string { return k.partitions[partition].meta }

// probe is a key that is never there for longer than a script runs: see lua/probe.lua.
func (k *keys) probe(partition int) string { return k.partitions[partition].probe }

// due is a ZSET: the ids of sessions that must be read from Stripe again, by the second from which on.
func (k *keys) due(partition int) string { return k.partitions[partition].due }

// list is a ZSET: the ids of the sessions of a partition that belong in a list, by update time.
func (k *keys) list(partition int, list verification.List) string {
	return k.partitions[partition].lists[list]
}

// repaired is a HASH: fingerprint (of the layout and policy of the lists), last and first, the Unix
// seconds of repairs with it.
func (k *keys) repaired() string { return k.prefix + "lists" }

// accounts is a SET: the connected accounts of which a session is known.
func (k *keys) accounts() string { return k.prefix + "accounts" }

// cursors is a HASH: up to which Unix second the events of an account have been caught up; the
// platform's own under the empty name.
func (k *keys) cursors() string { return k.prefix + "cursors" }

// lease is a STRING with a TTL: who holds it.
func (k *keys) lease(name string) string { return k.prefix + "lease:" + name }

// marks is a HASH: numbers that jobs have noted by name, such as the Unix second of their last completion.
func (k *keys) marks() string { return k.prefix + "marks" }

// reference is a ZSET: session ids by Stripe's creation time. The reference is hashed, so that no
// key names a person in clear (a list of guesses turns the hash back); it has no hash tag, because its sessions are in any partition.
func (k *keys) reference(reference string) string {
	sum := sha256.Sum256([]byte(reference))
	return k.prefix + "ref:" + base64.RawURLEncoding.EncodeToString(sum[:16])
}
