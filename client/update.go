package client

import verificationv1 "example.com/verification-status/gen/verification/v1"

// Update is one step of a watch: a change, or a bookmark.
type Update struct {
	// Verification is the session at one revision. Nil in a bookmark (see [Bookmarks]).
	Verification *verificationv1.Verification
	// ResumeToken lets a later watch of the same subject continue after this update. Store it when the update is handled,
	// and pass it to [ResumeFrom]. It is opaque, URL-safe, and has at most 2 KiB.
	ResumeToken string
	// Reset means that the service no longer had the changes after the last update. Verification is the current status.
	// Revisions before it can be missing, and its revision can be lower than one already seen: drop all state that is kept
	// of the subject. WatchAll never sets it. It ends with [ErrResumeTokenExpired] instead, because the service cannot send
	// the status of all sessions.
	Reset bool
}
