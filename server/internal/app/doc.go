// Package app builds the server from its parts, runs them, and stops them in order. It is the only package that knows all others.
// It wires: what decides is in the parts.
package app
