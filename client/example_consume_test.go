package client_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// happen makes a person fail and then succeed, when a consumer has been made. In real life Stripe does this.
func happen(server *clienttest.Server) {
	if err := server.AwaitStreams(context.Background(), 1); err != nil {
		log.Fatal(err)
	}
	server.Set(failed())
	server.Set(person("vs_1", "user-42", verified))
}

// A mailer writes to people about each outcome. After a crash a mail can come twice, with the same message id.
func ExampleClient_Consume() {
	server := demo() // in real life, a deployed service
	defer server.Close()
	c := server.Client()
	go happen(server)

	ctx, stop := context.WithCancel(context.Background()) // in real life, signal.NotifyContext
	err := c.Consume(ctx, "mailer", func(_ context.Context, u client.Update) error {
		v := u.Verification
		fmt.Printf("to %s: %v\n", v.GetClientReferenceId(), v.GetStatus()) // with the message id v.GetOutcomeId()
		if v.GetSettled() {
			stop()
		}
		return nil
	}, client.OnInterruption(func(err error, _ time.Duration) {
		if !errors.Is(err, client.ErrConsumerBusy) { // that one says that another instance is at work
			log.Print(err)
		}
	}), client.OnFailure(func(u client.Update, err error, wait time.Duration) {
		log.Printf("%s: %v; the next try is in %v", u.Verification.GetSessionId(), err, wait)
	}))
	fmt.Println(errors.Is(err, context.Canceled))
	// Output:
	// to user-42: STATUS_REQUIRES_INPUT
	// to user-42: STATUS_VERIFIED
	// true
}

// outcomes acts once on each outcome in a database, however often an outcome comes. Its table:
//
//	CREATE TABLE handled (outcome_id text PRIMARY KEY)
type outcomes struct{ db *sql.DB }

// handle runs effects in the transaction that notes the outcome, unless it is noted already.
func (o *outcomes) handle(ctx context.Context, v *verificationv1.Verification, effects func(*sql.Tx) error) error {
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	noted, err := tx.ExecContext(ctx, `INSERT INTO handled (outcome_id) VALUES ($1) ON CONFLICT DO NOTHING`, v.GetOutcomeId())
	if err != nil {
		return err
	}
	if n, err := noted.RowsAffected(); err != nil || n == 0 {
		return err // it was handled
	}
	if err := effects(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// position keeps the position of a consumer in a database. Its table:
//
//	CREATE TABLE positions (consumer text PRIMARY KEY, token text NOT NULL);
//	INSERT INTO positions (consumer, token) VALUES ('ledger', '');
type position struct {
	db       *sql.DB
	consumer string
	token    string // of the last change or bookmark
}

// Load implements client.Checkpoint.
func (p *position) Load(ctx context.Context) (string, error) {
	err := p.db.QueryRowContext(ctx, `SELECT token FROM positions WHERE consumer = $1`, p.consumer).Scan(&p.token)
	return p.token, err
}

// Save implements client.Checkpoint. The handler has stored the token of a change.
func (p *position) Save(ctx context.Context, u client.Update) error {
	if u.Verification != nil {
		return nil
	}
	return p.move(ctx, u.ResumeToken, func(*sql.Tx) error { return nil })
}

// errMoved makes Consume load the position again.
var errMoved = fmt.Errorf("another instance has moved the position: %w", client.ErrBeginAgain)

// move runs effects and stores the token in one transaction. It does neither if another instance has moved the position, or if
// this transaction was committed before and its answer was lost.
func (p *position) move(ctx context.Context, token string, effects func(*sql.Tx) error) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	moved, err := tx.ExecContext(ctx, `UPDATE positions SET token = $1 WHERE consumer = $2 AND token = $3`, token, p.consumer, p.token)
	if err != nil {
		return err
	}
	if n, err := moved.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		var stored string
		if err := tx.QueryRowContext(ctx, `SELECT token FROM positions WHERE consumer = $1`, p.consumer).Scan(&stored); err != nil {
			return err
		}
		if stored != token {
			return errMoved
		}
		p.token = token
		return nil
	}
	if err := effects(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	p.token = token
	return nil
}

// A ledger acts in the transaction that moves its position. It needs no table of outcomes.
func ExampleWithCheckpoint() {
	server := demo()
	defer server.Close()
	c, db := server.Client(), openDatabase() // in real life, sql.Open with your driver
	defer db.Close()
	go happen(server)

	ctx, stop := context.WithCancel(context.Background())
	p := &position{db: db, consumer: "ledger"}
	err := c.Consume(ctx, "ledger", func(ctx context.Context, u client.Update) error {
		err := p.move(ctx, u.ResumeToken, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO entries (session, outcome) VALUES ($1, $2)`,
				u.Verification.GetSessionId(), u.Verification.GetStatus().String())
			return err
		})
		if err == nil && u.Verification.GetSettled() {
			stop()
		}
		return err
	}, client.WithCheckpoint(p))
	fmt.Println(errors.Is(err, context.Canceled), p.token != "")
	for _, entry := range entriesOf(db) {
		fmt.Println(entry)
	}
	// Output:
	// true true
	// vs_1 STATUS_REQUIRES_INPUT
	// vs_1 STATUS_VERIFIED
}
