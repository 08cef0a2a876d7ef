package main

import _ "embed"

// shippedNotices has the licences of all modules that are linked into this program as it is shipped. They must go along with it.
// .ci/notices writes the file, and .ci/run checks that it is current.
//
//go:embed THIRD_PARTY_NOTICES
var shippedNotices string

// notices has the licences of all modules that are linked into this program.
var notices = shippedNotices + devNotices
