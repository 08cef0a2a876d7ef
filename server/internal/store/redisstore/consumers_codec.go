package redisstore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.com/verification-status/server/internal/store"
)

// describedParts is how many parts of an answer describe one consumer. See lua/consumer.lua.
const describedParts = 7

// parseConsumer returns the consumer that a script describes. With ErrCorrupt it returns what can be read: an incarnation that cannot be
// read is 0.
func parseConsumer(described []string) (store.Consumer, error) {
	if len(described) != describedParts {
		return store.Consumer{}, fmt.Errorf("%w: a consumer's description has %d parts", store.ErrCorrupt, len(described))
	}
	incarnation, err1 := strconv.ParseUint(described[1], 10, 64)
	positions, err2 := parsePositions(described[3])
	acknowledged, err3 := strconv.ParseInt(described[4], 10, 64)
	left, err4 := strconv.ParseInt(described[5], 10, 64)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return store.Consumer{Name: described[0], Incarnation: incarnation, Owner: described[2]}, fmt.Errorf("%w: a field of a consumer: %w", store.ErrCorrupt, err)
	}
	consumer := store.Consumer{
		Name: described[0], Incarnation: incarnation, Owner: described[2], Positions: positions, Active: left > 0, Holder: described[6],
	}
	if acknowledged > 0 {
		consumer.Acknowledged = time.UnixMilli(acknowledged)
	}
	return consumer, nil
}

// formatPositions returns positions as a consumer's field contains them: "<epoch>/<seq>/<nonce>" with spaces in between. Equal
// positions have equal texts, because lua/consumer_move.lua compares texts.
func formatPositions(positions []store.Position) string {
	var text []byte
	for i, position := range positions {
		if i > 0 {
			text = append(text, ' ')
		}
		text = strconv.AppendUint(text, position.Epoch, 10)
		text = strconv.AppendUint(append(text, '/'), position.Seq, 10)
		text = strconv.AppendUint(append(text, '/'), position.Nonce, 10)
	}
	return string(text)
}

func parsePositions(text string) ([]store.Position, error) {
	words := strings.Fields(text)
	if len(words) != partitions {
		return nil, fmt.Errorf("%d positions instead of %d", len(words), partitions)
	}
	positions := make([]store.Position, partitions)
	for partition, word := range words {
		epoch, rest, _ := strings.Cut(word, "/")
		seq, nonce, _ := strings.Cut(rest, "/")
		var err1, err2, err3 error
		positions[partition].Epoch, err1 = strconv.ParseUint(epoch, 10, 64)
		positions[partition].Seq, err2 = strconv.ParseUint(seq, 10, 64)
		positions[partition].Nonce, err3 = strconv.ParseUint(nonce, 10, 64)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
	}
	return positions, nil
}
