import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { ClientReadableStream, ServiceError } from "@grpc/grpc-js";

import { onAbort } from "./abort.js";
import { begin, isUnprocessed, Judge, metadataOf } from "./attempt.js";
import type { Transport } from "./attempt.js";
import { decoder } from "./wire.js";
import type { Method } from "./wire.js";

/** The number of responses that are kept in addition to those of grpc-js, which keeps 16. */
const maxQueue = 4;

/**
 * ResponseStream reads the responses of one call, one after the other. While its reader does not ask, it lets HTTP/2 hold up the
 * server: it keeps at most some twenty responses, and a window of 64 KiB. It never waits for a connection that cannot be opened.
 */
export class ResponseStream<I extends DescMessage, O extends DescMessage> {
  readonly #transport: Transport;
  readonly #method: Method<I, O>;
  readonly #request: Buffer;
  readonly #token: string | undefined;
  readonly #signal: AbortSignal;

  #call: ClientReadableStream<MessageShape<O>> | undefined;
  /** Responses that came while the reader did not wait, at most maxQueue. */
  #queue: MessageShape<O>[] = [];
  #error: unknown;
  #isOver = false;
  #wake = (): void => {};
  #mayRepeat = true;
  #close = (): void => {};

  /** Makes the call when the first response is asked for. The signal ends it; next then rejects with its reason. */
  constructor(transport: Transport, method: Method<I, O>, request: Buffer, token: string | undefined, signal: AbortSignal) {
    this.#transport = transport;
    this.#method = method;
    this.#request = request;
    this.#token = token;
    this.#signal = signal;
  }

  /** Resolves to the next response, or to undefined if the call ended with OK. It rejects with the error of the call. */
  async next(): Promise<MessageShape<O> | undefined> {
    if (this.#call === undefined) {
      await this.#begin();
    }
    for (;;) {
      this.#signal.throwIfAborted();
      const response = this.#queue.shift();
      if (response !== undefined) {
        return response;
      }
      if (this.#isOver) {
        return this.#ended(this.#error);
      }
      this.#call?.resume();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Ends the call. */
  close(): void {
    this.#close();
  }

  async #ended(error: unknown): Promise<MessageShape<O> | undefined> {
    if (error === undefined) {
      return undefined;
    }
    if (error instanceof Unprocessed) {
      if (!this.#mayRepeat) {
        throw error.error;
      }
      this.#mayRepeat = false;
      this.#isOver = false;
      this.#error = undefined;
      this.#call = undefined;
      return this.next();
    }
    throw error;
  }

  async #begin(): Promise<void> {
    const { tokens, connections } = this.#transport;
    while (this.#call === undefined) {
      const metadata = await metadataOf(tokens, this.#token, this.#signal);
      const lease = await connections.pick({ isStream: true, failFast: true, signal: this.#signal });
      const call = begin(lease, () =>
        lease.connection.client.makeServerStreamRequest(
          this.#method.path,
          (bytes: Buffer) => bytes,
          decoder(this.#method.output),
          this.#request,
          metadata,
        ),
      );
      if (call !== undefined) {
        this.#follow(call, lease.release);
      }
    }
  }

  #follow(call: ClientReadableStream<MessageShape<O>>, release: () => void): void {
    this.#call = call;
    const judge = new Judge(call);
    const over = (): void => {
      undo();
      release();
      this.#isOver = true;
      this.#wake();
    };
    call.on("data", (response: MessageShape<O>) => {
      this.#mayRepeat = false;
      this.#queue.push(response);
      if (this.#queue.length >= maxQueue) {
        call.pause();
      }
      this.#wake();
    });
    // The error comes at once, "end" after the responses that came before it.
    call.on("error", (error: ServiceError) => {
      release();
      const failed = judge.error(error);
      this.#error = isUnprocessed(error) ? new Unprocessed(failed) : failed;
    });
    call.on("end", over);
    this.#close = () => {
      call.cancel();
      call.resume(); // what is left is dropped
      over();
    };
    const undo = onAbort(this.#signal, this.#close);
    if (this.#signal.aborted) {
      this.#close();
    }
  }
}

/** Unprocessed wraps the error of a call that the server has not begun. */
class Unprocessed {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}
