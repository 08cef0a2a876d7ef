//go:build !faults

package main

// sideBySide is how many tests run at once, of those that may: they wait nearly all of the time, for proxies, pages and
// failovers.
const sideBySide = "4"
