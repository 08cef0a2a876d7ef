// Package remote has the commands that call a running server through its gRPC API, with the caller's own credentials. It knows the
// contract, and neither the store nor the server's parts: it shows nothing that another caller with the same rights could not have.
package remote
