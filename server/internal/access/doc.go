// Package access is the trust boundary of the gRPC API: TLS, the identity of a caller, its rights, and its limits. A caller
// has a client certificate or a bearer token. grpc's authorization policy gives rights to certificates, the file of
// tokens gives rights to tokens. All files are read again when they change.
//
// The package refuses to know what the calls do. It reads a request only to find the right that the call needs, keeps no
// session, asks no store, and decides before anything is looked up.
package access
