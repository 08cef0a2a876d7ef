import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Metadata, ServiceError } from "@grpc/grpc-js";

import { link, onAbort, sleep } from "./abort.js";
import { begin, isUnprocessed, Judge, metadataOf } from "./attempt.js";
import type { Transport } from "./attempt.js";
import type { Lease } from "./pool.js";
import { checkTimeout } from "./duration.js";
import { invalid } from "./error-from.js";
import { DeadlineExceededError, UnavailableError, VerificationError } from "./errors.js";
import type { CallOptions } from "./options.js";
import type { Repeats } from "./repeats.js";
import { decoder, encode } from "./wire.js";
import type { Method } from "./wire.js";

/** The longest time of a call without a timeout, in milliseconds. A retry and a comparison can take several requests to Stripe. */
export const statusTimeout = 10_000;

/** The same for a retry and a comparison, in milliseconds. */
export const retryTimeout = 30_000;

/** The longest wait of such a call for a connection, in milliseconds. */
const connectedWithin = 10_000;

/** CallSettings are what the kind of a call decides. */
export interface CallSettings {
  /** Of a call without a timeout of its own, in milliseconds. */
  readonly defaultTimeout: number;
  /** Ends the call with its reason when the client closes. */
  readonly closed: AbortSignal;
  /** Tries the call again. Unset: a call is tried once. */
  readonly repeats?: Repeats;
}

/**
 * Makes a unary call. It waits for a connection. It rejects with a {@link VerificationError}, or with the reason of a signal.
 */
export async function callUnary<I extends DescMessage, O extends DescMessage>(
  transport: Transport,
  method: Method<I, O>,
  request: MessageShape<I>,
  options: CallOptions,
  settings: CallSettings,
): Promise<MessageShape<O>> {
  const call = new UnaryCall(transport, method, encodeRequest(method, request), options, settings);
  try {
    return await call.run();
  } finally {
    call.end();
  }
}

function encodeRequest<I extends DescMessage, O extends DescMessage>(method: Method<I, O>, request: MessageShape<I>): Buffer {
  try {
    return encode(method.input, request);
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error));
  }
}

class UnaryCall<I extends DescMessage, O extends DescMessage> {
  readonly #transport: Transport;
  readonly #method: Method<I, O>;
  readonly #request: Buffer;
  readonly #token: string | undefined;
  readonly #settings: CallSettings;
  readonly #deadline: number;
  readonly #ending;
  readonly #timers: NodeJS.Timeout[];
  #connected = false;
  #last: VerificationError | undefined;

  constructor(transport: Transport, method: Method<I, O>, request: Buffer, options: CallOptions, settings: CallSettings) {
    this.#transport = transport;
    this.#method = method;
    this.#request = request;
    this.#token = options.token;
    this.#settings = settings;
    const timeout = checkTimeout(options.timeout ?? settings.defaultTimeout);
    this.#deadline = Date.now() + timeout;
    this.#ending = link(options.signal, settings.closed);
    this.#timers = [setTimeout(() => this.#ending.abort(this.#late(timeout)), timeout)];
    if (options.timeout === undefined && timeout > connectedWithin) {
      const unreachable = (): void => {
        if (!this.#connected) {
          this.#ending.abort(unavailable(connectedWithin, transport.connections.failure));
        }
      };
      this.#timers.push(setTimeout(unreachable, connectedWithin));
    }
  }

  /** Ends what the call has begun. */
  end(): void {
    this.#ending.unlink();
    for (const timer of this.#timers) {
      clearTimeout(timer);
    }
  }

  /** Tries until an attempt succeeds, or fails and is not repeated. */
  async run(): Promise<MessageShape<O>> {
    const { repeats } = this.#settings;
    for (let failures = 1; ; failures++) {
      try {
        const response = await this.#attempt();
        repeats?.succeeded();
        return response;
      } catch (error) {
        this.#ending.signal.throwIfAborted();
        const wait = repeats?.waitAfter(error, failures);
        if (wait === undefined || Date.now() + wait >= this.#deadline) {
          throw error;
        }
        this.#last = error instanceof VerificationError ? error : undefined;
        await sleep(this.#ending.signal, wait);
        this.#ending.signal.throwIfAborted();
      }
    }
  }

  /** Tries once. A call that the server has not begun is sent again, once if the server has refused it. */
  async #attempt(): Promise<MessageShape<O>> {
    const { signal } = this.#ending;
    for (let refused = 0; ;) {
      const metadata = await metadataOf(this.#transport.tokens, this.#token, signal);
      const lease = await this.#transport.connections.pick({ isStream: false, failFast: false, signal });
      this.#connected = true;
      try {
        const response = await this.#send(lease, metadata);
        if (response !== undefined) {
          return response;
        }
      } catch (error) {
        if (!(error instanceof Unprocessed)) {
          throw error;
        }
        if (refused > 0) {
          throw error.error;
        }
        refused++;
      }
    }
  }

  /**
   * Resolves to undefined if the connection was closed before the call. It rejects with Unprocessed if the server has not begun it.
   */
  #send(lease: Lease, metadata: Metadata): Promise<MessageShape<O> | undefined> {
    const { signal } = this.#ending;
    return new Promise((resolve, reject) => {
      let undo = (): void => {};
      const done = (error: ServiceError | null, response?: MessageShape<O>): void => {
        undo();
        lease.release();
        if (error === null) {
          resolve(response);
        } else {
          const failed = judge.error(error);
          reject(isUnprocessed(error) ? new Unprocessed(failed) : failed);
        }
      };
      const call = begin(lease, () =>
        lease.connection.client.makeUnaryRequest(
          this.#method.path,
          (bytes: Buffer) => bytes,
          decoder(this.#method.output),
          this.#request,
          metadata,
          { deadline: this.#deadline },
          done,
        ),
      );
      if (call === undefined) {
        resolve(undefined);
        return;
      }
      const judge = new Judge(call);
      undo = onAbort(signal, () => {
        call.cancel();
        reject(signal.reason as Error);
      });
      if (signal.aborted) {
        call.cancel();
      }
    });
  }

  #late(timeout: number): VerificationError {
    const { connections } = this.#transport;
    if (!this.#connected) {
      return unavailable(timeout, connections.failure);
    }
    const message = `no answer within ${timeout / 1000} s${this.#last ? `; the last try: ${this.#last.message}` : ""}`;
    return new DeadlineExceededError({ code: "DEADLINE_EXCEEDED", message, cause: this.#last });
  }
}

/** Unprocessed wraps the error of a call that the server has not begun. */
class Unprocessed extends Error {
  readonly error: VerificationError;

  constructor(error: VerificationError) {
    super(error.message);
    this.error = error;
  }
}

function unavailable(within: number, cause: Error): UnavailableError {
  return new UnavailableError({
    code: "UNAVAILABLE",
    message: `the service could not be reached for ${within / 1000} s: ${cause.message}`,
    cause,
  });
}
