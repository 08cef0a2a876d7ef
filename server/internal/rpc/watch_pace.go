package rpc

import (
	"math/rand/v2"
	"time"

	"example.com/verification-status/server/internal/live/hub"
)

const (
	// pacePerWatch and paceMost are the pause of a watch of all sessions after it has looked at the feed: so long for each such
	// watch of this server, and so long at the most. Every change wakes all of them. Without the pause, 50 watches and 500
	// changes a second are 25,000 wake-ups and writes to connections a second, on the processors that take the webhooks.
	pacePerWatch = 200 * time.Microsecond
	paceMost     = 20 * time.Millisecond
	// paceLeast is the shortest pause. Fewer watches do not pause.
	paceLeast = time.Millisecond
)

// pace pauses a watch of all sessions, so that the changes that come meanwhile are sent together. A watch of a quiet feed has
// paused long before the next change. The pauses differ, so that the watches do not wake at the same moment.
func (w *watcher) pace(st *stream) {
	watches := w.config.Live.Hub().Listening(hub.KindPartition) / w.sessions.Partitions()
	pause := min(time.Duration(watches)*pacePerWatch, paceMost)
	if pause < paceLeast {
		return
	}
	timer := time.NewTimer(pause/2 + rand.N(pause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-st.ctx.Done():
	case <-st.stopping.Done():
	}
}
