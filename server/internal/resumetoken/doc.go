// Package resumetoken encodes and decodes the tokens by which a watch resumes after a break, and a list after a page. A
// token is opaque to callers, URL-safe and has at most MaxLength characters. It grants nothing and contains no secret: a
// caller that may watch a subject may have any token of it. References and filters are hashed in it.
//
// The package refuses to know what a position means: it knows neither the store nor whether a token has expired.
package resumetoken
