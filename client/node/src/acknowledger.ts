import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";

import { onAbort, sleep } from "./abort.js";
import type { Base, Settings } from "./consume.js";
import { replaced } from "./consumer-streams.js";
import { askedWait } from "./error-from.js";
import { PermissionDeniedError, ResumeTokenExpiredError, ResumeTokenInvalidError, VerificationError } from "./errors.js";
import { FeedService } from "./gen/verification/v1/feed_pb.js";
import { Lock } from "./lock.js";
import { callUnary } from "./unary.js";
import { type Method, methodOf } from "./wire.js";

const acknowledgeChanges = methodOf(FeedService.method.acknowledgeChanges);
const listConsumers = methodOf(FeedService.method.listConsumers);

/** `consume` acknowledges when so many changes are handled, or so many milliseconds after the first one. */
const batch = 100;
const batchWithin = 1000;

/** Bounds one try of an acknowledgement, and the last one with all its tries, in milliseconds. */
export const acknowledgeTimeout = 5000;

/** Hooks are what an acknowledger reports. */
interface Hooks {
  /** The store lost the position of the token. The changes after the last position come again. */
  expired(error: VerificationError): void;
  /** An acknowledgement cannot succeed. */
  failed(error: VerificationError): void;
}

/** Acknowledger acknowledges the longest finished beginning of a consumer's changes. */
export class Acknowledger {
  /** The token that was acknowledged last, or with which the first stream began. */
  last = "";

  readonly #base: Base;
  readonly #consumer: string;
  readonly #settings: Settings;
  readonly #open: AbortSignal;
  readonly #hooks: Hooks;
  readonly #sending = new Lock();
  /** To acknowledge; "": nothing. */
  #token = "";
  #changes = 0;
  #timer: NodeJS.Timeout | undefined;
  #isHurrying = false;

  constructor(base: Base, consumer: string, settings: Settings, open: AbortSignal, hooks: Hooks) {
    this.#base = base;
    this.#consumer = consumer;
    this.#settings = settings;
    this.#open = open;
    this.#hooks = hooks;
    onAbort(open, () => clearTimeout(this.#timer));
  }

  /** Sets the token to acknowledge. It stands for this number of further changes. */
  add(token: string, changes: number): void {
    this.#token = token;
    this.#changes += changes;
    if (this.#changes >= batch) {
      this.hurry();
    } else {
      this.#schedule();
    }
  }

  #schedule(): void {
    if (this.#token !== "" && this.#timer === undefined && !this.#open.aborted) {
      this.#timer = setTimeout(() => this.hurry(), batchWithin);
    }
  }

  /** Acknowledges what is left without a wait. */
  hurry(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#token !== "" && !this.#isHurrying) {
      this.#isHurrying = true;
      void this.#flushInBackground();
    }
  }

  async #flushInBackground(): Promise<void> {
    try {
      await this.flush(this.#open);
    } catch {
      // flush has reported the error.
    }
    this.#isHurrying = false;
    this.#schedule(); // for what was added meanwhile
  }

  /** Acknowledges nothing of what is left. */
  clear(): void {
    this.#token = "";
    this.#changes = 0;
  }

  /**
   * Acknowledges what is left. It tries until it succeeds, the signal aborts, or another try cannot succeed. Then it throws the
   * error.
   */
  async flush(signal: AbortSignal): Promise<void> {
    const unlock = await this.#sending.acquire(signal);
    try {
      for (let failures = 1; this.#token !== ""; failures++) {
        const [token, changes] = [this.#token, this.#changes];
        try {
          await this.send(signal, token);
          this.#acknowledged(token, changes);
          return;
        } catch (error) {
          signal.throwIfAborted();
          this.#throwFinal(error);
          const wait = askedWait(error) + this.#base.backoff.random(failures);
          this.#settings.onInterruption?.(error instanceof Error ? error : new Error(String(error)), wait);
          await sleep(signal, wait);
          signal.throwIfAborted();
        }
      }
    } finally {
      unlock();
    }
  }

  /** Throws an error after which another try cannot succeed. */
  #throwFinal(error: unknown): void {
    if (error instanceof ResumeTokenExpiredError && this.#settings.checkpoint === undefined) {
      this.#hooks.expired(error);
      throw error;
    }
    if (cannotSucceed(error)) {
      const final = error instanceof ResumeTokenInvalidError ? replaced(error) : error;
      this.clear();
      this.#hooks.failed(final);
      throw final;
    }
  }

  /** Acknowledges one token, once. */
  async send(signal: AbortSignal, token: string): Promise<void> {
    const request = create(acknowledgeChanges.input, { consumer: this.#consumer, resumeToken: token });
    await this.#call(acknowledgeChanges, request, signal);
  }

  /** Returns whether the consumer has acknowledged anything. It returns false if the caller may not ask. */
  async hasAcknowledged(signal: AbortSignal): Promise<boolean> {
    try {
      const { consumers } = await this.#call(listConsumers, create(listConsumers.input), signal);
      return consumers.some(({ name, acknowledgeTime }) => name === this.#consumer && acknowledgeTime !== undefined);
    } catch (error) {
      const code = error instanceof VerificationError ? error.code : "";
      if (code === "UNIMPLEMENTED" || (error instanceof PermissionDeniedError && error.fromService)) {
        return false;
      }
      throw error;
    }
  }

  #call<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageShape<I>,
    signal: AbortSignal,
  ): Promise<MessageShape<O>> {
    const options = { signal, token: this.#settings.token, timeout: acknowledgeTimeout };
    return callUnary(this.#base.transport, method, request, options, {
      defaultTimeout: acknowledgeTimeout,
      closed: this.#base.closed,
    });
  }

  #acknowledged(token: string, changes: number): void {
    this.#changes -= changes;
    this.last = token;
    if (this.#token === token) {
      this.clear();
    }
  }
}

/**
 * Reports whether an acknowledgement that failed cannot succeed in another try. A proxy's answer can change. A server that does not
 * know the call is older than consumers.
 */
function cannotSucceed(error: unknown): error is VerificationError {
  if (!(error instanceof VerificationError) || !error.fromService) {
    return false;
  }
  switch (error.code) {
    case "INVALID_ARGUMENT":
    case "NOT_FOUND":
    case "PERMISSION_DENIED":
    case "UNAUTHENTICATED":
    case "FAILED_PRECONDITION":
    case "OUT_OF_RANGE":
      return true;
  }
  return false;
}
