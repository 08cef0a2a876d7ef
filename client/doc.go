// Package client asks verification-status whether a person is verified, why the last check failed, and whether the person may
// try again.
//
//   - [Client.Status] returns the current status once.
//   - [Client.Watch] is a loop over the current status and every later change. It resumes by itself when a connection
//     breaks or a server is replaced. [Client.WatchAll] is the same for all sessions.
//   - [Client.Consume] calls a function for each outcome of all sessions, and keeps its position at the service. It is for
//     programs that act on outcomes. [Client.ListConsumers] and [Client.DeleteConsumer] are for their operators.
//   - [Client.WaitSettled] waits until nothing more is expected of the person.
//   - [Client.Retry] lets the person try again.
//   - [Client.AllowRetry] and [Client.Resolve] are for operators, who help people that cannot go on alone.
//   - [Client.Compare] tells whether the verified values are the expected ones. [Client.Person] looks at all sessions of a person.
//   - [Client.List] is a loop over the sessions that a filter selects.
//
// Errors of calls are an [*Error] or wrap one. errors.Is finds the package's sentinels in them, such as [ErrNotFound], and
// status.Code finds the gRPC code.
//
// The types of requests and answers are in the package verificationv1, the contract of the service. Its comments say what
// each field and each error means.
//
// Package clienttest has a server for the tests of programs that use this package. Package sse brings a watch to a browser.
//
// # Connections
//
// One [Client] is enough for a program. It spreads its calls over all addresses of its target, and opens a further
// connection to an address when the others carry as many streams as the server or proxy allows. It prefers servers that
// report themselves as serving.
//
// The package refuses to know how the service works: it knows the contract only.
package client
