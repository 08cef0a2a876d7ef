//go:build nodev

package main

// devNotices is empty: this program lacks the development server.
const devNotices = ""
