// Package program is the program side of the conformance kit's protocol, for clients in Go: it reads commands, does them with a
// [Client], and writes what the client gave. The protocol is in ../README.md.
//
// The package refuses to know any client, and any script.
package program
