// Package sharedread lets callers that ask for the same thing at the same time share the answer.
//
// Unlike golang.org/x/sync/singleflight it never gives a caller the answer of a read that was already under way: that
// answer can be older than the call. While one read is under way, or its answer is in use, all new callers wait for the next one.
//
// The package refuses to know what is read.
package sharedread
