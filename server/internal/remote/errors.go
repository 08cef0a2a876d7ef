package remote

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// explain returns the error of a call in words for a person at a terminal. It returns nil for nil, and an error that is not of gRPC as
// it is. feature is what an old server does not have.
func (s *Server) explain(err error, feature string) error {
	if err == nil {
		return nil
	}
	answer, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch text := answer.Message(); answer.Code() {
	case codes.Unavailable:
		return fmt.Errorf("the server at %s cannot be called: %s%s", s.Addr, unwrapped(text), s.connectHint(text))
	case codes.DeadlineExceeded:
		return fmt.Errorf("the server at %s gave no answer within %v", s.Addr, s.Timeout)
	case codes.Canceled:
		return errors.New("canceled")
	case codes.Unauthenticated:
		return fmt.Errorf("the server does not know the caller: %s: give --token-file, or --cert-file and --key-file", text)
	case codes.PermissionDenied:
		return fmt.Errorf("the server refuses the call: %s", text)
	case codes.Unimplemented:
		if tooOld(text) {
			return fmt.Errorf("the server has no %s: its version is too old", feature)
		}
		return errors.New(text)
	case codes.NotFound, codes.FailedPrecondition, codes.Aborted:
		return errors.New(text)
	default:
		return fmt.Errorf("the server answers %s: %s", answer.Code(), text)
	}
}

// tooOld reports whether a text is gRPC's own about a method that a server does not have.
func tooOld(text string) bool {
	return strings.HasPrefix(text, "unknown service ") || strings.HasPrefix(text, "unknown method ") || strings.HasSuffix(text, " not implemented")
}

// connectHint returns what to try if a connection fails because of TLS. text is gRPC's.
func (s *Server) connectHint(text string) string {
	switch {
	case strings.Contains(text, "first record does not look like a TLS handshake"):
		return ": the server has no TLS: give --plaintext"
	case s.Plaintext && strings.Contains(text, "error reading server preface"):
		return ": if the server has TLS, leave out --plaintext"
	case strings.Contains(text, "certificate signed by unknown authority"):
		return ": name the authority of the server's certificate in --ca-file"
	case strings.Contains(text, "x509: certificate is valid for"):
		return ": give one of these names in --server-name"
	case strings.Contains(text, "tls: certificate required"):
		return ": give --cert-file and --key-file, or --token-file"
	default:
		return ""
	}
}

// unwrapped returns gRPC's text about a connection without the words that gRPC puts around it.
func unwrapped(text string) string {
	if inner, found := strings.CutPrefix(text, `connection error: desc = "transport: `); found {
		return strings.TrimSuffix(inner, `"`)
	}
	return text
}
