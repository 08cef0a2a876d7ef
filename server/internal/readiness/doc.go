// Package readiness decides whether this process can do its work: it looks at the store every second, and checks it as at
// the start every ten seconds. It knows no part of the service but the store's port.
package readiness
