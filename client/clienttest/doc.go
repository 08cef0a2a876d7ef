// Package clienttest has a fake verification-status for tests: a real gRPC server on loopback. It keeps the sessions that the
// test sets, sends their changes to open streams, and fails when the test says so. A program under test uses the real client,
// with its connections, resuming and errors.
//
//	func TestGreetsTheVerified(t *testing.T) {
//		server := clienttest.New(t)
//		server.Set(&verificationv1.Verification{
//			SessionId: "vs_1", Status: verificationv1.Status_STATUS_VERIFIED,
//		})
//		greet(server.Client(), "vs_1")
//	}
//
// The server keeps the contract: revisions from 1 without gaps, resume tokens, reasons and details of errors, retries and
// replacements with the service's default settings, lists, outcomes, filters. The service's own tests send the same requests to both and compare
// the answers.
//
// It has named consumers too: one stream at a time, acknowledgements, and consumers that expire, are deleted or busy when the test
// says so. In a bubble of testing/synctest use [NewVirtual].
//
// The package refuses to know Stripe, and the rules by which events become a status: the test sets the status.
package clienttest
