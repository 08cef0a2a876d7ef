package main

import _ "embed"

// notices has the licences of all modules that are linked into this program. They must go along with it. .ci/notices
// writes the file, and .ci/run checks that it is current.
//
//go:embed THIRD_PARTY_NOTICES
var notices string
