package redisstore

import (
	_ "embed" // the scripts
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// The scripts compare, write and append, and decide nothing else. Time and randomness are arguments, except the time of a consumer's
// lease. All values are strings, because numbers in Lua are doubles and cjson differs between servers.
var (
	//go:embed lua/feed.lua
	feedLua string
	//go:embed lua/bytes.lua
	bytesLua string
	//go:embed lua/lists.lua
	listsLua string
	//go:embed lua/commit.lua
	commitLua string
	//go:embed lua/pointer.lua
	pointerLua string
	//go:embed lua/index.lua
	indexLua string
	//go:embed lua/meta.lua
	metaLua string
	//go:embed lua/fence.lua
	fenceLua string
	//go:embed lua/cursor.lua
	cursorLua string
	//go:embed lua/lease.lua
	leaseLua string
	//go:embed lua/relist.lua
	relistLua string
	//go:embed lua/after.lua
	afterLua string
	//go:embed lua/probe.lua
	probeLua string
	//go:embed lua/consumer.lua
	consumerLua string
	//go:embed lua/consumer_read.lua
	consumerReadLua string
	//go:embed lua/consumer_create.lua
	consumerCreateLua string
	//go:embed lua/consumer_lease.lua
	consumerLeaseLua string
	//go:embed lua/consumer_move.lua
	consumerMoveLua string
	//go:embed lua/consumer_delete.lua
	consumerDeleteLua string

	pointerScript = redis.NewScript(feedLua + pointerLua)
	indexScript   = redis.NewScript(feedLua + indexLua)
	metaScript    = redis.NewScript(feedLua + metaLua)
	fenceScript   = redis.NewScript(fenceLua)
	cursorScript  = redis.NewScript(cursorLua)
	leaseScript   = redis.NewScript(leaseLua)
	relistScript  = redis.NewScript(listsLua + relistLua)
	afterScript   = redis.NewScript(bytesLua + afterLua)
	probeScript   = redis.NewScript(probeLua)

	consumerReadScript   = redis.NewScript(consumerLua + consumerReadLua)
	consumerCreateScript = redis.NewScript(consumerLua + consumerCreateLua)
	consumerLeaseScript  = redis.NewScript(consumerLua + consumerLeaseLua)
	consumerMoveScript   = redis.NewScript(consumerLua + consumerMoveLua)
	consumerDeleteScript = redis.NewScript(consumerLua + consumerDeleteLua)
)

// newCommitScript returns lua/commit.lua for a feed of this length and age. What all commits of a process have in common is in the text
// and not in the arguments, and what most commits do not need is in a function that makes it.
func newCommitScript(feedLength int64, feedAge time.Duration) *redis.Script {
	constants := fmt.Sprintf("local feed_length, feed_age, index_cap, list_cap = '%d', %d, '-%d', '-%d'\n",
		feedLength, feedAge/time.Second, maxIndexed+1, maxSettled+1)
	shared := "local function shared()\n" + bytesLua + feedLua + "return {append = append, trim_old = trim_old, is_before = is_before}\nend\n"
	return redis.NewScript(constants + shared + commitLua)
}
