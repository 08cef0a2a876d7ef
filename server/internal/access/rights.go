package access

import (
	"fmt"
	"slices"
	"strings"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// A call needs the right to one path: its method's or, for a watch of all sessions, one below it. A policy allows paths to
// certificates. A Right is a name for paths that it allows to a token. So both have one model.
const (
	pathGetStatus = verificationv1.VerificationService_GetStatus_FullMethodName
	pathWatch     = verificationv1.VerificationService_WatchStatus_FullMethodName
	pathWatchAll  = pathWatch + "/all_sessions"
	pathList      = "/verification.v1.VerificationService/ListVerifications"
	pathRetry     = verificationv1.VerificationService_RetryVerification_FullMethodName

	pathAcknowledge    = verificationv1.FeedService_AcknowledgeChanges_FullMethodName
	pathListConsumers  = verificationv1.FeedService_ListConsumers_FullMethodName
	pathDeleteConsumer = verificationv1.FeedService_DeleteConsumer_FullMethodName

	pathAllowRetry = verificationv1.OperatorService_AllowRetry_FullMethodName
	pathResolve    = verificationv1.OperatorService_ResolveVerification_FullMethodName

	pathCompare = verificationv1.ComparisonService_CompareVerifiedOutputs_FullMethodName

	healthPrefix     = "/grpc.health.v1.Health/"
	reflectionPrefix = "/grpc.reflection."
)

// Right is a right of a bearer token.
type Right string

// The rights.
const (
	// RightRead allows GetStatus, and WatchStatus for a session or reference.
	RightRead Right = "read"
	// RightWatchAll allows WatchStatus for all sessions, and the calls with which a consumer of the feed acknowledges and is
	// deleted.
	RightWatchAll Right = "watch-all"
	// RightList allows ListVerifications and ListConsumers.
	RightList Right = "list"
	// RightRetry allows RetryVerification. Stripe can bill each retry.
	RightRetry Right = "retry"
	// RightOverride allows the calls of OperatorService. With RightWatchAll it also allows to delete the consumers of other
	// callers.
	RightOverride Right = "override"
	// RightCompare allows CompareVerifiedOutputs. A caller that has it can guess, within COMPARISON_LIMIT.
	RightCompare Right = "compare"
)

// pathsOfRight has the paths that each right allows.
var pathsOfRight = map[Right][]string{
	RightRead:     {pathGetStatus, pathWatch},
	RightWatchAll: {pathWatchAll, pathAcknowledge, pathDeleteConsumer},
	RightList:     {pathList, pathListConsumers},
	RightRetry:    {pathRetry},
	RightOverride: {pathAllowRetry, pathResolve},
	RightCompare:  {pathCompare},
}

// rightNames are the names of all rights, for error texts.
const rightNames = "read, watch-all, list, retry, override and compare"

// ParseRights reads rights separated by commas, each once.
func ParseRights(text string) ([]Right, error) {
	rights, unknown, err := readRights(text)
	if err == nil && unknown > 0 {
		err = fmt.Errorf("rights are %s, separated by commas and without spaces", rightNames)
	}
	return rights, err
}

// readRights is ParseRights for a file that a later version can read too: it leaves out the rights that this version does
// not know, and counts them.
func readRights(text string) (rights []Right, unknown int, err error) {
	for _, word := range strings.Split(text, ",") {
		right := Right(word)
		switch {
		case word == "":
			return nil, 0, fmt.Errorf("rights are %s, separated by commas and without spaces", rightNames)
		case pathsOfRight[right] == nil:
			unknown++
		case slices.Contains(rights, right):
			return nil, 0, fmt.Errorf("the right %s is named twice", right)
		default:
			rights = append(rights, right)
		}
	}
	return rights, unknown, nil
}

// isHealth reports whether a method is of the health service, which every caller may call: a prober has no credentials, and
// learns only whether the server is up.
func isHealth(method string) bool { return strings.HasPrefix(method, healthPrefix) }

// pathsOf returns the paths that a call can need, before its request is known.
func pathsOf(method string) []string {
	if method == pathWatch {
		return []string{pathWatch, pathWatchAll}
	}
	return []string{pathOf(method, nil)}
}

// pathOf returns the path that a call needs.
func pathOf(method string, request any) string {
	if watch, ok := request.(*verificationv1.WatchStatusRequest); ok && watch.GetAllSessions() != nil {
		return pathWatchAll
	}
	if strings.HasPrefix(method, reflectionPrefix) {
		return pathGetStatus // a caller that may read may see the services too
	}
	return method
}
