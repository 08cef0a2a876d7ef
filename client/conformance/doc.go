// Command conformance tests a client of verification-status, in any language, by scripts of faults.
//
//	go run ./client/conformance -- node path/to/adapter.js
//
// It starts the program after "--", tells it by lines of JSON what to do with its client (README.md is that protocol), and reads
// what the client saw. The program's client connects to a fake of the service (clienttest) through proxies that the kit controls.
//
// One script runs like this:
//
//	script ──parse──▶ step ──▶ model ──▶ what each watch must report from now on
//	                    │                      │
//	                    ▼                      ▼
//	                 player                 compare ◀── ledger ◀── process (the program's events)
//	                    │                                  ▲
//	                    ▼                                  │ tokens, waits, silences
//	                 control (clienttest) ◀── front (proxy) ◀── the client under test
//
// The model knows the rules of the contract, and computes from the script alone what a client must report. It never sees the
// server or a client. The player executes the step, and waits until all watches have reported what they must, or the time is up.
// What a trace cannot show, the ledger checks: the resume token of each stream, the waits that the server asked for, and how
// long a silent stream was kept.
package main
