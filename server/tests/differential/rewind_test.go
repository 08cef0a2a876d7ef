package differential

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
)

// dump returns every key of a server with its time to live and content, of one moment.
var dump = redis.NewScript(`
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  all[#all + 1] = key
  all[#all + 1] = redis.call('PTTL', key)
  all[#all + 1] = redis.call('DUMP', key)
end
return all`)

// restore sets a server back to what dump returned, at once.
var restore = redis.NewScript(`
for _, key in ipairs(redis.call('KEYS', '*')) do
  redis.call('DEL', key)
end
for i = 1, #ARGV, 3 do
  redis.call('RESTORE', ARGV[i], math.max(0, ARGV[i + 1]), ARGV[i + 2])
end
return 'ok'`)

// rewind is a loss of the newest writes of all masters in which no connection fails and no read is
// interrupted: of a failover it has all but the signs by which one might notice it.
func rewind(t *testing.T, f *form) loss {
	scratch := newServer(t, redistest.Start(t))
	var marks [][]any
	return loss{
		name: "rewound in place",
		prepare: func(*round) bool {
			marks = nil
			for _, master := range f.masters() {
				err := patiently(func(ctx context.Context) error {
					mark, err := dump.Eval(ctx, master, nil).Slice()
					if err == nil {
						marks = append(marks, mark)
					}
					return err
				})
				if err != nil {
					return false
				}
			}
			return true
		},
		lose: func(r *round) (map[string]int32, error) {
			var all []any
			for i, master := range f.masters() {
				if err := patiently(func(ctx context.Context) error { return restore.Eval(ctx, master, nil, marks[i]...).Err() }); err != nil {
					return nil, err
				}
				all = append(all, marks[i]...)
			}
			if err := patiently(func(ctx context.Context) error { return restore.Eval(ctx, scratch, nil, all...).Err() }); err != nil {
				return nil, err
			}
			return scratch.revisions(r.stripe.sessions())
		},
	}
}

// startMasters is a Cluster of three masters.
func startMasters(t *testing.T) *form {
	cluster := redistest.StartCluster(t, 3, 0)
	f := &form{options: func(int) redisstore.Options {
		return redisstore.Options{Addrs: cluster.Addrs(), Mode: redisstore.Cluster}
	}}
	var masters []*server
	for _, node := range cluster.Nodes {
		masters = append(masters, newServer(t, node))
	}
	f.setMasters(masters...)
	f.losses = []loss{rewind(t, f), rewind(t, f), everythingLost(f)}
	return f
}
