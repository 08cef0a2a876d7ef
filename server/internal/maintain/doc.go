// Package maintain does the work on all sessions that one replica does at a time: it puts the lists
// right and archives the sessions that have been settled for long. It knows the store's port and no
// other part of the server.
//
// A job is done while the replica holds the job's Lease, which ends a minute after the replica has
// died. When a job was completed is noted in the store: a job that failed, or whose replica died, is
// still due, and the next replica that looks does it. No job depends on the lease: two replicas that
// do the same job at once only do it twice.
package maintain
