// Package cli is the command line: it reads flags and environment, makes the logger, runs one command and returns the
// exit code. What the commands do is in other packages.
package cli
