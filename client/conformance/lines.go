package main

import "fmt"

// updateLine and endLine are the lines of a trace.
func updateLine(session string, revision int, status string, outcome int, reset bool) string {
	line := fmt.Sprintf("update %s revision %d %s outcome %d", session, revision, status, outcome)
	if reset {
		line += " RESET"
	}
	return line
}

func endLine(f failure) string { return "end " + f.String() }

// String returns what a user of the client learns of the error.
func (f failure) String() string {
	text := f.code
	if f.reason != "" {
		text += " " + f.reason
	}
	if f.wait != 0 {
		text += fmt.Sprintf(" retry after %v", f.wait)
	}
	return text
}

// codeOfHTTP is gRPC's mapping of a proxy's HTTP status (doc/http-grpc-status-mapping.md in the repository of gRPC).
func codeOfHTTP(status string) string {
	mapped := map[string]string{
		"400": "INTERNAL", "401": "UNAUTHENTICATED", "403": "PERMISSION_DENIED", "404": "UNIMPLEMENTED",
		"429": "UNAVAILABLE", "502": "UNAVAILABLE", "503": "UNAVAILABLE", "504": "UNAVAILABLE",
	}
	if code, ok := mapped[status]; ok {
		return code
	}
	return "UNKNOWN"
}

func statusLine(session string, revision int, status string, outcome int) string {
	return "status: " + updateLine(session, revision, status, outcome, false)
}

func retryLine(session string) string { return "retry: a link for " + session }

func failLine(verb string, f failure) string { return verb + ": " + f.String() }
