package redisstore

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// lacking holds the commands that a server refuses for one reason, and its answer to one of them.
type lacking struct {
	commands []string
	says     string
}

// probe checks that the server has every command, and that the user may run it on the keys of the prefix. A script that is refused
// half way leaves half of its writes. The error names all missing commands.
func (s *Store) probe(ctx context.Context, client redis.UniversalClient) error {
	// First the commands that a script cannot call: the server's own answer names them.
	if err := s.probeAlone(ctx, client); err != nil {
		return s.prepareFailed(ctx, err)
	}
	tried := 1
	if s.mode == Cluster {
		tried = partitions // each partition can be on another server with its own users
	}
	answers := make([]*redis.Cmd, tried)
	_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for partition := range answers {
			keys := []string{s.keys.probe(partition), s.keys.meta(partition), s.keys.feed(partition)}
			answers[partition] = probeScript.Eval(ctx, p, keys)
		}
		return nil
	})
	if err != nil {
		return s.prepareFailed(ctx, err)
	}
	missing := make(map[Reason]*lacking)
	for _, answer := range answers {
		failed, err := answer.StringSlice()
		if err != nil {
			return s.prepareFailed(ctx, err)
		}
		for pair := range slices.Chunk(failed, 2) {
			command, says := pair[0], pair[len(pair)-1]
			reason := reasonIn(s.mode, says)
			if missing[reason] == nil {
				missing[reason] = &lacking{says: s.redacted(says)}
			}
			missing[reason].commands = append(missing[reason].commands, command)
		}
	}
	return s.judgeMissing(missing)
}

// probeAlone calls the commands that a script cannot call and that need no separate key.
func (s *Store) probeAlone(ctx context.Context, client redis.UniversalClient) error {
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HMGet(ctx, s.keys.meta(0), "epoch")
		return nil
	})
	if err == nil && s.waitReplicas > 0 {
		err = eachMaster(ctx, client, func(ctx context.Context, master redis.UniversalClient) error {
			return master.Do(ctx, "wait", 0, 1).Err()
		})
	}
	if err == nil && s.mode == Cluster {
		err = eachMaster(ctx, client, func(ctx context.Context, master redis.UniversalClient) error {
			return master.Do(ctx, "asking").Err()
		})
	}
	return err
}

// judgeMissing returns one error for all missing commands. Its text is the same for the same commands.
func (s *Store) judgeMissing(missing map[Reason]*lacking) error {
	var problems []error
	if lack := missing[ReasonPermission]; lack != nil {
		problems = append(problems, refuse(ReasonPermission, "its user has no right to %s (it says: %s); allow it %s", lack.names(), lack.says, s.rule()))
	}
	if lack := missing[ReasonCommand]; lack != nil {
		problems = append(problems, refuse(ReasonCommand, "it has no command %s (it says: %s); this service needs it: remove its rename-command, or use another server",
			lack.names(), lack.says))
	}
	return errors.Join(problems...)
}

func (l *lacking) names() string {
	slices.Sort(l.commands)
	return strings.Join(slices.Compact(l.commands), ", ")
}
