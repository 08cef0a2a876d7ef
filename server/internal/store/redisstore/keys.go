package redisstore

import (
	"crypto/sha256"
	"encoding/base64"
	"hash/fnv"

	"example.com/verification-status/server/internal/verification"
)

// partitions is the number of partitions in every mode, so that a move to a Cluster changes no key. A change of the number, the
// tags or the hash needs a migration: Prepare refuses data that were written with another number.
const partitions = 16

// tags holds the hash tags of the partitions. The slot of tags[i] is in the middle of the i-th sixteenth of all slots. So up to 16
// masters with equal slot ranges get the same number of partitions, plus or minus one. The tags {0} to {15} would leave some
// masters idle.
var tags = [partitions]string{
	"p852", "p942", "p769", "p679", "p844", "p954", "p192", "p082",
	"p484", "p594", "p904", "p814", "p629", "p739", "p409", "p519",
}

// partitionOf returns FNV-1a (32 bits) of the session id modulo the number of partitions.
func partitionOf(sessionID string) int {
	hash := fnv.New32a()
	hash.Write([]byte(sessionID))
	return int(hash.Sum32() % partitions)
}

// keys makes every key of this package. The keys of one partition share a hash tag, so that one script can use them on a Cluster.
type keys struct {
	prefix     string
	partitions [partitions]partitionKeys
}

// partitionKeys holds the keys of one partition.
type partitionKeys struct {
	records string // the prefix of the record keys
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

// record is a STRING: header and body. See codec_record.go.
func (k *keys) record(sessionID string) string {
	return k.partitions[partitionOf(sessionID)].records + sessionID
}

// feed is a STREAM with ids "<seq>-0" and the fields s (session id), r (revision), n (nonce), b (nonce of the entry before, "0" for
// the first), t (Unix second of the commit), c (trace, if there is one), and p if the session can now be the newest one of its
// reference.
func (k *keys) feed(partition int) string { return k.partitions[partition].feed }

// meta is a HASH with the fields epoch, seq and nonce of the newest feed entry, partitions, format, and since: a Unix second, if it
// is known, before which no entry must be removed by age.
func (k *keys) meta(partition int) string { return k.partitions[partition].meta }

// probe is a key that exists only while a script runs. See lua/probe.lua.
func (k *keys) probe(partition int) string { return k.partitions[partition].probe }

// due is a ZSET of the session ids that must be read from Stripe again. The score is the Unix second from which on.
func (k *keys) due(partition int) string { return k.partitions[partition].due }

// list is a ZSET of the session ids of a partition that belong in a list. The score is the update time.
func (k *keys) list(partition int, list verification.List) string {
	return k.partitions[partition].lists[list]
}

// repaired is a HASH with the fields fingerprint (of the layout and policy of the lists), and last and first: the Unix seconds of
// the repairs with this fingerprint.
func (k *keys) repaired() string { return k.prefix + "lists" }

// accounts is a SET of the connected accounts of which a session is stored.
func (k *keys) accounts() string { return k.prefix + "accounts" }

// cursors is a HASH: for each account the Unix second up to which its events have been caught up. The platform has the empty name.
func (k *keys) cursors() string { return k.prefix + "cursors" }

// lease is a STRING with a TTL: the name of the holder.
func (k *keys) lease(name string) string { return k.prefix + "lease:" + name }

// marks is a HASH: the numbers that jobs store by name, such as the Unix second of the last completion.
func (k *keys) marks() string { return k.prefix + "marks" }

// consumers is a HASH of all named consumers, with the fields "<attribute>:<name>". The attributes are incarnation, owner,
// positions (see formatPositions), acknowledged (milliseconds of the store's clock, if a position has ever moved) and, while a
// stream has or had the lease, stream, holder and until (milliseconds). One key, so that a script can bound their number.
func (k *keys) consumers() string { return k.prefix + "consumers" }

// reference is a ZSET of session ids by Stripe's creation time. The key contains a hash of the reference, so that no key names a
// person in clear text. A list of guesses can reverse the hash. The key has no hash tag, because the sessions of a reference can
// be in any partition.
func (k *keys) reference(reference string) string {
	sum := sha256.Sum256([]byte(reference))
	return k.prefix + "ref:" + base64.RawURLEncoding.EncodeToString(sum[:16])
}
