//go:build !nodev

package main

import _ "embed"

// devNotices has the licences of the modules that only the development server needs.
//
//go:embed THIRD_PARTY_NOTICES_DEV
var devNotices string
