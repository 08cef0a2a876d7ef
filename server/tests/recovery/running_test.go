package recovery

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// TestG7_G11_ServersThatRunDuringARestoreNoticeIt: nobody stopped them. They end the watches at positions that are lost, and catch up at once.
func TestG7_G11_ServersThatRunDuringARestoreNoticeIt(t *testing.T) {
	t.Parallel() // it mostly waits
	stripe := rig.StartFakeStripe(t)
	i := install(t, stripe)
	i.start()
	stripe.SendTo(i.servers[0])
	erased := i.come("erased")
	i.submit(erased, "verified")
	i.awaitCaughtUp(rig.Soon)
	i.backup()
	i.redact(erased)
	late := i.come("late")
	stream, err := i.clients[1].WatchStatus(rig.Within(t, time.Minute), rig.WatchAllRequest(""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	i.loseDisk()
	began := time.Now()
	i.run("restore")
	i.run("aof")
	_, err = stream.Recv()
	rig.WantError(t, err, codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED)
	rig.Await(t, "nothing redacted can be read", func() bool { return i.readable([]*person{erased}) == "" })
	t.Logf("nothing redacted can be read %v after the begin of the restore", time.Since(began).Round(time.Millisecond))
	rig.Await(t, "a session from after the backup is known again", func() bool { return i.wrong() == "" && holds("Redis", i.dump(), []*person{late}) != "" })
}
