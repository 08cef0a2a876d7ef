package client_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// database is a driver of package sql with the tables and the statements of the examples. A transaction fails if another one was
// committed meanwhile.
type database struct {
	mu      sync.Mutex
	rows    tables
	commits int
	fault   func() error // of the next statement or commit
	// lost makes the next commit fail after it has had its effect.
	lost func() bool
}

type tables struct {
	positions map[string]string
	handled   map[string]bool
	entries   []string
}

func (t tables) clone() tables {
	return tables{maps.Clone(t.positions), maps.Clone(t.handled), slices.Clone(t.entries)}
}

func newDatabase() *database {
	return &database{
		rows:  tables{positions: map[string]string{"ledger": ""}, handled: map[string]bool{}},
		fault: func() error { return nil }, lost: func() bool { return false },
	}
}

func openDatabase() *sql.DB {
	return newDatabase().open()
}

func (d *database) open() *sql.DB {
	db := sql.OpenDB(d)
	db.SetMaxOpenConns(1)
	return db
}

func entriesOf(db *sql.DB) []string {
	d := db.Driver().(*database)
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.rows.entries)
}

func (d *database) Connect(context.Context) (driver.Conn, error) {
	return &connection{database: d}, nil
}
func (d *database) Driver() driver.Driver            { return d }
func (d *database) Open(string) (driver.Conn, error) { return &connection{database: d}, nil }

// connection is one connection, with the tables as its transaction sees them.
type connection struct {
	*database
	rows  *tables // nil: no transaction
	begun int     // after this number of commits
}

func (c *connection) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not supported") }
func (c *connection) Close() error                        { return nil }

func (c *connection) Begin() (driver.Tx, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rows := c.database.rows.clone()
	c.rows, c.begun = &rows, c.commits
	return c, nil
}

func (c *connection) Commit() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	rows := c.rows
	c.rows = nil
	if err := c.fault(); err != nil {
		return err
	}
	if c.begun != c.commits {
		return errors.New("another transaction was committed meanwhile")
	}
	c.database.rows = *rows
	c.commits++
	if c.lost() {
		return errors.New("the answer of the commit was lost")
	}
	return nil
}

func (c *connection) Rollback() error {
	c.rows = nil
	return nil
}

func (c *connection) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fault(); err != nil {
		return nil, err
	}
	text := func(i int) string { return args[i].Value.(string) }
	switch query {
	case `INSERT INTO handled (outcome_id) VALUES ($1) ON CONFLICT DO NOTHING`:
		if c.rows.handled[text(0)] {
			return driver.RowsAffected(0), nil
		}
		c.rows.handled[text(0)] = true
	case `UPDATE positions SET token = $1 WHERE consumer = $2 AND token = $3`:
		if c.rows.positions[text(1)] != text(2) {
			return driver.RowsAffected(0), nil
		}
		c.rows.positions[text(1)] = text(0)
	case `INSERT INTO entries (session, outcome) VALUES ($1, $2)`:
		c.rows.entries = append(c.rows.entries, text(0)+" "+text(1))
	default:
		return nil, fmt.Errorf("no such statement: %s", query)
	}
	return driver.RowsAffected(1), nil
}

func (c *connection) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if query != `SELECT token FROM positions WHERE consumer = $1` {
		return nil, fmt.Errorf("no such statement: %s", query)
	}
	if err := c.fault(); err != nil {
		return nil, err
	}
	rows := c.database.rows
	if c.rows != nil {
		rows = *c.rows
	}
	return &oneRow{rows.positions[args[0].Value.(string)], false}, nil
}

// oneRow is a result of one text.
type oneRow struct {
	text string
	read bool
}

func (r *oneRow) Columns() []string { return []string{"token"} }
func (r *oneRow) Close() error      { return nil }

func (r *oneRow) Next(values []driver.Value) error {
	if r.read {
		return io.EOF
	}
	r.read, values[0] = true, r.text
	return nil
}

// TestTheExamplesActOnce: each outcome has one entry, although statements fail, commits lose their answers, streams break and
// instances are stopped and take over.
func TestTheExamplesActOnce(t *testing.T) {
	for _, recipe := range []string{"with a table of outcomes", "with the position"} {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("%s, seed %d", recipe, seed), func(t *testing.T) {
			virtually(t, func(t *testing.T, server *clienttest.Server) {
				random := rand.New(rand.NewPCG(seed, 0))
				d := newDatabase()
				faults := rand.New(rand.NewPCG(seed, 1))
				d.fault = func() error {
					if faults.IntN(10) == 0 {
						return errors.New("the database is away")
					}
					return nil
				}
				d.lost = func() bool { return faults.IntN(10) == 0 }
				var stops []func()
				start := func() {
					ctx, cancel := context.WithCancel(t.Context())
					ended := make(chan struct{})
					db, c := d.open(), server.Client()
					go func() {
						defer close(ended)
						defer db.Close()
						if err := runRecipe(ctx, recipe, c, db); !errors.Is(err, context.Canceled) {
							t.Errorf("Consume ended with %v; want context.Canceled", err)
						}
					}()
					stops = append(stops, func() { cancel(); <-ended })
				}
				start()
				time.Sleep(taken)
				start()
				var want []string
				for n := range 60 {
					flip(server, fmt.Sprint("vs_", n%3), n/3)
					v := processing
					if n/3%2 == 0 {
						v = requiresInput
					}
					want = append(want, fmt.Sprintf("vs_%d %v", n%3, v))
					time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
					switch random.IntN(8) {
					case 0:
						server.CutStreams(nil)
					case 1:
						stops[0]()
						stops = stops[1:]
						start()
					}
				}
				time.Sleep(10 * time.Minute)
				for _, stop := range stops {
					stop()
				}
				synctest.Wait()
				got := d.rows.entries
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("the entries are %q; want %q", got, want)
				}
			})
		})
	}
}

func runRecipe(ctx context.Context, recipe string, c *client.Client, db *sql.DB) error {
	enter := func(ctx context.Context, u client.Update) func(*sql.Tx) error {
		return func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO entries (session, outcome) VALUES ($1, $2)`,
				u.Verification.GetSessionId(), u.Verification.GetStatus().String())
			return err
		}
	}
	if recipe == "with the position" {
		p := &position{db: db, consumer: "ledger"}
		return c.Consume(ctx, "ledger", func(ctx context.Context, u client.Update) error {
			return p.move(ctx, u.ResumeToken, enter(ctx, u))
		}, client.WithCheckpoint(p))
	}
	o := &outcomes{db}
	return c.Consume(ctx, "ledger", func(ctx context.Context, u client.Update) error {
		return o.handle(ctx, u.Verification, enter(ctx, u))
	}, client.Workers(3))
}
