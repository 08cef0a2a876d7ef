package recovery

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/document"
)

// TestADumpBesideAppendonlyYesIsNotRead: what the page warns of is true. The check at the end of the block notices it, and the right block
// repairs it.
func TestADumpBesideAppendonlyYesIsNotRead(t *testing.T) {
	t.Parallel() // it mostly waits
	m := newMachine(t)
	m.ask("SET someone here")
	m.run("backup")
	m.loseDisk()
	block, without := document.Code(t, page, "restore"), ""
	for line := range strings.Lines(block) {
		if !strings.Contains(line, "appendonly no") {
			without += line
		}
	}
	if without == block {
		t.Fatal("the block has no line with appendonly no")
	}
	m.script(without, false)
	if size := m.ask("DBSIZE"); size != "0" {
		t.Errorf("with appendonly yes Redis has %s keys, want 0", size)
	}

	m.run("restore")
	m.run("aof")
	if got := m.ask("GET someone"); got != "here" {
		t.Fatalf("after the right block: %q", got)
	}
	m.ask("SET another here")
	m.killRedis()
	m.script("systemctl start redis-server\nuntil redis-cli -u \"$REDIS_ADMIN_URL\" PING | grep -q PONG; do sleep 0.01; done", true)
	if size := m.ask("DBSIZE"); size != "2" {
		t.Errorf("after a crash Redis has %s keys, want the one of the backup and the one after it", size)
	}
}

// TestABackupThatFailsIsNoBackup: the script ends with an error and leaves no file, so that it can be alerted on. An old file is
// deleted by the next backup that succeeds, and no earlier.
func TestABackupThatFailsIsNoBackup(t *testing.T) {
	t.Parallel() // it mostly waits
	m := newMachine(t)
	m.ask("SET someone here")
	old := filepath.Join(m.backups, "20200101T000000Z.rdb")
	m.write(old, 0o640, "old")
	m.script(`touch -d '8 days ago' "$BACKUPS"/20200101T000000Z.rdb`, true)
	inTheWay := filepath.Join(m.data, "dump.rdb")
	if err := os.MkdirAll(filepath.Join(inTheWay, "full"), 0o750); err != nil {
		t.Fatal(err)
	}
	m.script(document.Code(t, page, "backup"), false)
	if files := m.script(`ls "$BACKUPS"`, true); files != "20200101T000000Z.rdb\n" {
		t.Errorf("after a backup that failed there are %q", files)
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	m.run("backup")
	if files := m.script(`ls "$BACKUPS"`, true); strings.Count(files, ".rdb\n") != 1 || strings.Contains(files, "20200101") {
		t.Errorf("after a backup there are %q, want the new one alone", files)
	}
}
