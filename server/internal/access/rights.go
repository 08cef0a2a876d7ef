package access

import (
	"fmt"
	"slices"
	"strings"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// What a call needs is one path: its method's or, for a watch of all sessions, one below it. A policy
// allows paths to certificates, and a right is a name for the paths that it opens to a token. So there
// is one model for both.
const (
	pathGetStatus = verificationv1.VerificationService_GetStatus_FullMethodName
	pathWatch     = verificationv1.VerificationService_WatchStatus_FullMethodName
	pathWatchAll  = pathWatch + "/all_sessions"
	pathList      = "/verification.v1.VerificationService/ListVerifications"
	pathRetry     = verificationv1.VerificationService_RetryVerification_FullMethodName

	healthPrefix     = "/grpc.health.v1.Health/"
	reflectionPrefix = "/grpc.reflection."
)

// Right is what a bearer token may do.
type Right string

// The rights.
const (
	// RightRead is to ask for and watch the status of a session that the caller can name.
	RightRead Right = "read"
	// RightWatchAll is to watch every session.
	RightWatchAll Right = "watch-all"
	// RightList is to list sessions.
	RightList Right = "list"
	// RightRetry is to grant people retries, each of which may be billed.
	RightRetry Right = "retry"
)

// opens are the paths that each right opens.
var opens = map[Right][]string{
	RightRead:     {pathGetStatus, pathWatch},
	RightWatchAll: {pathWatchAll},
	RightList:     {pathList},
	RightRetry:    {pathRetry},
}

// rightNames are those of all rights, for people.
const rightNames = "read, watch-all, list and retry"

// ParseRights reads rights separated by commas, each once.
func ParseRights(text string) ([]Right, error) {
	rights, unknown, err := readRights(text)
	if err == nil && unknown > 0 {
		err = fmt.Errorf("rights are %s, separated by commas and without spaces", rightNames)
	}
	return rights, err
}

// readRights is ParseRights for a file that a later version might read, too: it counts the rights that this
// version does not know, and leaves them out.
func readRights(text string) (rights []Right, unknown int, err error) {
	for _, word := range strings.Split(text, ",") {
		right := Right(word)
		switch {
		case word == "":
			return nil, 0, fmt.Errorf("rights are %s, separated by commas and without spaces", rightNames)
		case opens[right] == nil:
			unknown++
		case slices.Contains(rights, right):
			return nil, 0, fmt.Errorf("the right %s is there twice", right)
		default:
			rights = append(rights, right)
		}
	}
	return rights, unknown, nil
}

// isHealth reports whether a method is open to everyone: a prober has no credentials, and learns
// nothing but whether the server is up.
func isHealth(method string) bool { return strings.HasPrefix(method, healthPrefix) }

// pathsOf are what a call may need, before its request is known.
func pathsOf(method string) []string {
	if method == pathWatch {
		return []string{pathWatch, pathWatchAll}
	}
	return []string{pathOf(method, nil)}
}

// pathOf is what a call needs.
func pathOf(method string, request any) string {
	if watch, ok := request.(*verificationv1.WatchStatusRequest); ok && watch.GetAllSessions() != nil {
		return pathWatchAll
	}
	if strings.HasPrefix(method, reflectionPrefix) {
		return pathGetStatus // who may read may know what there is to read
	}
	return method
}
