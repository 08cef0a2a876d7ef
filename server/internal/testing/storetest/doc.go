// Package storetest is the conformance suite of the store's port: what every implementation of store.Store, store.CatchUp,
// store.Consumers and store.ListRepairs must do, on any database. It drives a store only with inputs of the real core. It does not know how a store
// keeps its records.
package storetest
