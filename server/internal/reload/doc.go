// Package reload reads files again when they change: secrets that are rolled, keys and certificates that are replaced, rights
// that change while the server runs.
//
// It does not know what is in the files. A Source judges the texts of its files and takes them into use. If the texts are
// refused, the ones before stay in use. No log line contains a text.
package reload
