/**
 * Brings a watch to a browser as server-sent events.
 *
 * @module
 */
export {};
