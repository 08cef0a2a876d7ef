// Package readiness decides whether this process is ready for calls: it pings the store every second, and checks it every ten
// seconds as at the start. It knows nothing of the service but the store's port.
package readiness
