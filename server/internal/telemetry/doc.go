// Package telemetry makes the logger, the metrics and the traces of the server. Log lines, also those of libraries, have no
// secret of Stripe, Redis or a caller: the logger redacts every attribute, message and error.
//
// It does not know what is logged, counted or traced: it imports no other package of the project.
package telemetry
