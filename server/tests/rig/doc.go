// Package rig starts what tests of the whole server need: the server as a process of its own, a simulated Stripe, clients,
// and webhooks that are signed by Stripe's scheme. Each room beside it is a package with tests of one kind.
//
// The server's process is the room's own test program, started again: it runs the code that the tests were compiled with,
// with the race detector if they have it. So the TestMain of a room calls [Main].
//
// rig asserts what every test wants, such as an end without a data race. It knows no single guarantee: that is for the
// rooms.
package rig
