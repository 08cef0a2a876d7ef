// Package dev is the development server: the whole service on one machine, with an embedded Redis and a simulated Stripe. It prints
// what to try, then one line for each event, retry and watch. It runs the same app as production, and observes it through hooks.
package dev
