// Package maintain runs the jobs that one replica does for all: it repairs the lists, archives sessions that were settled long
// ago, and has the webhook endpoint at Stripe checked once a day. The package knows the store's port and no other part of the server.
//
// A replica runs a job while it holds the job's lease. A lease ends a minute after its replica has died. The store keeps
// the time at which a job was last completed. A job that failed, or whose replica died, is still due, and the next
// replica that checks runs it. No job depends on the lease for correctness: two replicas that run the same job at the
// same time only do its work twice.
package maintain
