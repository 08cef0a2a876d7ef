// Package cli is the process: it reads flags and environment, makes the logger, runs one command and returns the exit code. It also
// sets the pace of the garbage collector. The work of most commands is in other packages.
package cli
