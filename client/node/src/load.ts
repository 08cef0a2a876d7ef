/** The age from which the loss of a connection is no failure, even if the connection has answered no call, in milliseconds. */
const provenAfter = 1000;

/**
 * Load counts the calls of one connection until it is lost. A call that ends after that changes the count of no later connection.
 */
export class Load {
  calls = 0;
  /** Whether the server has sent something for a call. */
  answered = false;
  readonly #since = performance.now();

  /** Whether a connection that is lost now was of use. */
  get isProven(): boolean {
    return this.answered || performance.now() - this.#since >= provenAfter;
  }
}
