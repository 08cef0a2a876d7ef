import { type Linked, link } from "./abort.js";

/** WatchedStream is one stream of a watch, and the timer that ends it if it falls silent. */
export class WatchedStream {
  /** Aborts when the stream must end. */
  readonly scope: Linked;
  /** Whether the last response was the first one. */
  isFirst = false;
  #responses = 0;
  #isAwaiting = false;
  readonly #silenceTimeout: number;
  #timer: NodeJS.Timeout | undefined;

  /** silenceTimeout is in milliseconds. The stream ends with the parent too. */
  constructor(silenceTimeout: number, parent: AbortSignal) {
    this.#silenceTimeout = silenceTimeout;
    this.scope = link(parent);
  }

  /** Waits for a response. The time between two calls is no silence: it is that of the loop body and of handlers. */
  async receive<T>(responses: { next(): Promise<T | undefined> }): Promise<T | undefined> {
    this.#isAwaiting = true;
    this.#timer = this.#timer?.refresh() ?? setTimeout(() => this.#silent(), this.#silenceTimeout);
    try {
      const response = await responses.next();
      this.isFirst = this.#responses++ === 0;
      return response;
    } finally {
      this.#isAwaiting = false;
    }
  }

  /** Ends the stream. Calling it again has no effect. */
  end(): void {
    clearTimeout(this.#timer);
    this.scope.abort(undefined);
    this.scope.unlink();
  }

  #silent(): void {
    if (!this.#isAwaiting) {
      return;
    }
    const unanswered =
      "the stream got no response: the server hangs, or a proxy in between limits the streams of a connection without announcing it";
    this.scope.abort(new Error(this.#responses > 0 ? "the stream fell silent" : unanswered));
  }
}
