// Package dev is the development server: the whole service on one machine with an embedded Redis and a simulated Stripe.
// It prints what to try, then a line for everything that arrives. It runs the same app as production, and adds only what
// looks on.
package dev
