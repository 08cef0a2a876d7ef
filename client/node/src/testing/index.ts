/**
 * A gRPC server for the tests of programs that use this package.
 *
 * @module
 */
export {};
