// Package maintain does the jobs over all sessions that one replica does at a time: it repairs the lists, and archives sessions that
// were settled long ago. It knows the store's port and no other part of the server.
//
// A replica does a job while it holds the job's Lease, which ends a minute after the replica has died. The store keeps when a job was
// last completed. A job that failed, or whose replica died, is still due, and the next replica that checks does it. No job depends on
// the lease: if two replicas do the same job at the same time, it is only done twice.
package maintain
