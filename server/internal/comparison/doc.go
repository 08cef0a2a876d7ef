// Package comparison compares what Stripe verified about a person with what a caller expects, and returns for each field whether
// they are the same, and by which rule.
//
// Names are compared in steps, from the strictest to the loosest: character by character; regardless of case, accents,
// punctuation and the order of names (names.go); by the spelling of machine-readable travel documents (latin.go); with names
// left out. Marks are accents in the Latin, Greek and Cyrillic scripts only (keys.go). Nothing measures how similar two texts are,
// and no name is guessed from another script: an error of that kind would tell a caller that a stranger is the right person.
//
// The package is pure. It refuses to know Stripe, the API contract, callers and limits. No text of an expectation or of an
// output is in a result or an error, and the types that hold them print no values.
package comparison
