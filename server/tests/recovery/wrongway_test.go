package recovery

import (
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
	m.backup()
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
	m.script("systemctl start redis-server\nuntil $REDIS_CLI PING | grep -q PONG; do sleep 0.01; done", true)
	if size := m.ask("DBSIZE"); size != "2" {
		t.Errorf("after a crash Redis has %s keys, want the one of the backup and the one after it", size)
	}
}

// TestABackupThatFailsIsNoBackup: the script ends with an error and leaves no file, so that it can be alerted on. A file of seven days is
// deleted by the next backup that succeeds, and no earlier. One of 30 days is deleted in any case.
func TestABackupThatFailsIsNoBackup(t *testing.T) {
	t.Parallel() // it mostly waits
	m := newMachine(t)
	m.ask("SET someone here")
	for name, days := range map[string]string{"20200101T000000Z.rdb": "8", "20190101T000000Z.rdb": "31"} {
		m.write(filepath.Join(m.backups, name), 0o640, "old")
		m.script(`touch -d '`+days+` days ago' "$BACKUPS"/`+name, true)
	}
	m.killRedis()
	m.script(document.Code(t, page, "backup"), false)
	if files := m.script(`ls "$BACKUPS" | grep 'rdb$'`, true); files != "20200101T000000Z.rdb\n" {
		t.Errorf("after a backup that failed there are %q", files)
	}
	m.script("systemctl start redis-server\nuntil $REDIS_CLI PING | grep -q PONG; do sleep 0.01; done", true)
	m.backup()
	if files := m.script(`ls "$BACKUPS"`, true); strings.Count(files, ".rdb\n") != 1 || strings.Contains(files, "20200101") {
		t.Errorf("after a backup there are %q, want the new one alone", files)
	}
	if mode := m.script(`stat -c %a "$BACKUP"`, true); mode != "600\n" {
		t.Errorf("the mode of a backup is %s, want 600: it holds personal data", mode)
	}
}

// TestABackupNeedsTheSameRedisToItsEnd: a Redis that dies and starts again during the backup gives none.
func TestABackupNeedsTheSameRedisToItsEnd(t *testing.T) {
	t.Parallel() // it mostly waits
	m := newMachine(t)
	m.ask("SET someone here")
	m.ask("CONFIG SET repl-diskless-sync-delay 600") // the backup waits for so long
	m.script(`bash -c "$(cat <<'BLOCK'
`+document.Code(t, page, "backup")+`BLOCK
)" & backup=$!
until $REDIS_CLI INFO replication | grep -q '^connected_slaves:1'; do sleep 0.01; done
kill -9 "$(cat "$TEST_PIDFILE")"
rm "$TEST_PIDFILE"
while $REDIS_CLI PING | grep PONG; do sleep 0.01; done
systemctl start redis-server
until $REDIS_CLI PING | grep -q PONG; do sleep 0.01; done
! wait "$backup"`, true)
	if files := m.script(`ls "$BACKUPS" | grep 'rdb$' || true`, true); files != "" {
		t.Errorf("there are %q, want no backup", files)
	}
}

// TestTheOperatorChoosesTheBackup: after a FLUSHALL the newest backup is that of the damage. Nothing is restored unless a file is named, and the list
// shows which one has data.
func TestTheOperatorChoosesTheBackup(t *testing.T) {
	t.Parallel() // it mostly waits
	m := newMachine(t)
	m.ask("MSET someone here another there")
	m.backup()
	good := m.chosen
	m.ask("FLUSHALL")
	m.ask("SET meta 1")
	m.script(`until [ "$(date -u +%Y%m%dT%H%M%SZ)" != "$(basename "$BACKUP" .rdb)" ]; do sleep 0.01; done`, true) // the next second, another name
	m.backup()
	if m.chosen == good {
		t.Fatal("there is only one backup")
	}
	broken := filepath.Join(m.backups, "20260101T000000Z.rdb")
	m.script(`head -c -12 "$BACKUP" >"$BACKUPS"/20260101T000000Z.rdb`, true)
	list := m.run("list")
	for _, want := range []string{good + " RDB looks OK 2 keys read\n", m.chosen + " RDB looks OK 1 keys read\n"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list has no line %q:\n%s", want, list)
		}
	}
	if strings.Contains(list, broken+" RDB looks OK") {
		t.Errorf("the list calls a damaged file good:\n%s", list)
	}
	for what, file := range map[string]string{"no file": "", "a damaged file": broken} {
		m.chosen = file
		m.script(document.Code(t, page, "restore"), false)
		if got := m.ask("GET meta"); got != "1" {
			t.Errorf("with %s the restore has touched Redis: %q", what, got)
		}
	}
	m.chosen = good
	m.run("restore")
	if got := m.ask("GET someone"); got != "here" {
		t.Errorf("after the restore of the good file: %q", got)
	}
}

// TestRedisConfMustHaveTheLine: without a line "appendonly" in the file that is changed, the next start would ignore the AOF. The blocks say so, and
// the first one before it stops Redis.
func TestRedisConfMustHaveTheLine(t *testing.T) {
	t.Parallel() // it mostly waits
	m := newMachine(t)
	m.ask("SET someone here")
	m.backup()
	m.script(`sed -i '/^appendonly/d' "$REDIS_CONF"`, true)
	m.script(document.Code(t, page, "restore"), false)
	if got := m.ask("GET someone"); got != "here" {
		t.Errorf("the restore has touched Redis: %q", got)
	}
	m.script(document.Code(t, page, "aof"), false)
}

// TestTheCommandsLogInAsAUser: as the page says, by --user and REDISCLI_AUTH, so that no password is an argument.
func TestTheCommandsLogInAsAUser(t *testing.T) {
	t.Parallel() // it mostly waits
	m := newMachine(t)
	m.ask("SET someone here")
	m.script("cat >>\"$REDIS_CONF\" <<'END'\nuser admin on >secret ~* &* +@all\nuser default off\nEND\nsystemctl stop redis-server\nsystemctl start redis-server", true)
	m.env = append(m.env, "REDIS_CLI=redis-cli -u redis://"+m.addr+" --user admin", "REDISCLI_AUTH=secret")
	m.script("until $REDIS_CLI PING | grep -q PONG; do sleep 0.01; done", true)
	m.backup()
	m.loseDisk()
	for _, block := range []string{"restore", "aof", "erase"} {
		m.run(block)
	}
	if got := m.ask("GET someone"); got != "here" {
		t.Errorf("after the restore: %q", got)
	}
}
