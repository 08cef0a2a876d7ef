// Package store is the port to the database: one record for each session, committed as a whole, and a durable feed of every
// change. It says what an adapter must do. It knows no database and no driver.
//
// The words:
//
//   - A commit stores one record, its feed entries and its index entries, or nothing.
//   - The feed is the log of all changes. It has partitions; all changes of a session are in one partition.
//   - A position is a reader's place in a partition of the feed: after one entry.
//   - The feed is trimmed if its oldest entries were removed, and rewound if the database lost its newest entries.
//   - A consumer is a named reader of the feed. Its positions are stored: what it has acknowledged.
//   - A list holds the sessions in one condition. A cursor is a reader's place in a list.
package store
