import { link, untilAborted } from "./abort.js";
import type { Linked } from "./abort.js";
import type { Acknowledger } from "./acknowledger.js";
import type { Checkpoint } from "./consume-options.js";
import {
  CheckpointLostError,
  ConsumerBusyError,
  ConsumerExpiredError,
  ConsumerNotFoundError,
  ResumeTokenExpiredError,
  ResumeTokenInvalidError,
  TooManyConsumersError,
  VerificationError,
} from "./errors.js";
import type { AllSessions, WatchStatusResponse } from "./gen/verification/v1/verification_pb.js";
import { begunAgain, type Held } from "./held.js";
import type { Consumer, Watch } from "./watch.js";

/** A server does not know consumers or outcomes. */
const older = new Error("the server is older than consumers; another one is tried");

/** The number of tries after which `consume` gives up if no server knows consumers. */
const olderTries = 20;

/** The longest time until a consumer is free whose stream was lost, in milliseconds. */
const leaseTime = 15_000;

/** Bounds one try of Checkpoint.load, in milliseconds. */
const loadTimeout = 30_000;

/** The shortest time between two acknowledgements of heartbeats, in milliseconds. */
const passOverAfter = 60_000;

/** ConsumerStreams change the streams of a watch to those of a named consumer. */
export class ConsumerStreams implements Consumer {
  readonly #watch: Watch;
  readonly #all: AllSessions;
  readonly #checkpoint: Checkpoint | undefined;
  readonly #held: Held;
  readonly #acknowledger: Acknowledger;
  /** A server has answered with the consumer. */
  #served = false;
  /** The stream does not continue the one before. */
  #isFresh = false;
  /** The caller says that the consumer has been made. */
  readonly #callerMustExist: boolean;
  /** The checkpoint has had a token in this run. */
  #hadToken = false;
  /** The checkpoint has no token yet, and nothing was acknowledged when this run began. */
  #isNew = false;
  /** When a heartbeat is acknowledged next, by performance.now. */
  #passOverAt = 0;

  constructor(watch: Watch, all: AllSessions, checkpoint: Checkpoint | undefined, held: Held, acknowledger: Acknowledger) {
    this.#watch = watch;
    this.#all = all;
    this.#callerMustExist = all.mustExist;
    this.#checkpoint = checkpoint;
    this.#held = held;
    this.#acknowledger = acknowledger;
  }

  /** Prepares the next stream. With a checkpoint it begins there, because another instance can have moved it. */
  async begin(scope: Linked): Promise<void> {
    if (this.#checkpoint !== undefined) {
      this.#held.drop(begunAgain());
    }
    this.#watch.token = this.#held.follow(scope, this.#watch.token);
    this.#isFresh = this.#watch.token === "";
    if (this.#checkpoint === undefined) {
      return;
    }
    await this.#held.untilIdle(scope.signal);
    this.#watch.token = await this.#load(this.#checkpoint, scope.signal);
    this.#all.mustExist ||= this.#watch.token !== "";
  }

  async #load(checkpoint: Checkpoint, signal: AbortSignal): Promise<string> {
    const limit = link(signal);
    const timer = setTimeout(() => limit.abort(new Error(`no answer within ${loadTimeout / 1000} s`)), loadTimeout);
    try {
      const token = await untilAborted(Promise.resolve(checkpoint.load(limit.signal)), limit.signal);
      this.#hadToken ||= token !== "";
      return token;
    } catch (error) {
      signal.throwIfAborted();
      throw new Error(`load the checkpoint: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    } finally {
      clearTimeout(timer);
      limit.unlink();
    }
  }

  /**
   * Throws an error if the stream, which has the consumer now, does not begin at the checkpoint, or if the checkpoint was lost. Until the
   * stream has the consumer, another instance can move the checkpoint.
   */
  async #check(checkpoint: Checkpoint, signal: AbortSignal): Promise<void> {
    const token = await this.#load(checkpoint, signal);
    if (token !== this.#watch.token) {
      throw new Error("another instance has moved the checkpoint; consume begins there");
    }
    if (token !== "") {
      return;
    }
    const isKnown = this.#callerMustExist || this.#hadToken || this.#held.hasSaved;
    if (isKnown || (!this.#isNew && (await this.#acknowledger.hasAcknowledged(signal)))) {
      throw new CheckpointLostError(
        "the checkpoint has no token, but its consumer was used before: the token was lost, or was never saved",
      );
    }
    this.#isNew = true;
  }

  async accept(response: WatchStatusResponse, first: boolean, signal: AbortSignal): Promise<void> {
    if (first) {
      if (response.consumer !== this.#all.consumer) {
        throw older;
      }
      this.#served = true;
      this.#all.mustExist = true;
      await this.#prove(response.resumeToken, signal);
      if (this.#checkpoint !== undefined) {
        await this.#check(this.#checkpoint, signal);
      }
    }
    if (response.verification?.outcomeRevision === 0) {
      throw older;
    }
    if (response.verification === undefined && !first) {
      this.#passOver(response.resumeToken);
    }
  }

  /**
   * Acknowledges the token of a heartbeat if everything before it is handled: what follows the last change was passed over. The
   * service acknowledges that by itself, but not on a stream that it has begun at a token: it does not know whether the changes
   * before the token are handled. With a checkpoint, heartbeats are acknowledged as changes are.
   */
  #passOver(token: string): void {
    if (this.#checkpoint !== undefined || token === this.#acknowledger.last || performance.now() < this.#passOverAt) {
      return;
    }
    if (this.#held.passOver(token)) {
      this.#passOverAt = performance.now() + passOverAfter;
    }
  }

  /**
   * Throws a ConsumerNotFoundError if a stream that began without a token of this run is of another consumer than the streams
   * before it: the consumer was deleted and made again while this instance stood by. To acknowledge a token again that was
   * acknowledged changes nothing, and the service takes only tokens of the same consumer.
   */
  async #prove(begun: string, signal: AbortSignal): Promise<void> {
    if (!this.#isFresh) {
      return; // the service has taken the token
    }
    if (this.#acknowledger.last !== "") {
      try {
        await this.#acknowledger.send(signal, this.#acknowledger.last);
      } catch (error) {
        if (!(error instanceof ResumeTokenExpiredError)) {
          throw error;
        }
      }
    }
    this.#acknowledger.last = begun;
  }

  async isFinal(error: unknown, signal: AbortSignal): Promise<boolean | undefined> {
    if (error instanceof CheckpointLostError) {
      return true;
    }
    if (error instanceof ConsumerNotFoundError || error instanceof ConsumerExpiredError || error instanceof TooManyConsumersError) {
      return true;
    }
    if (error instanceof ResumeTokenInvalidError) {
      return this.#isReplaced(signal);
    }
    if (error instanceof ConsumerBusyError) {
      this.#all.mustExist = true; // it exists
      this.#held.drop(error);
      return false;
    }
    if (error instanceof ResumeTokenExpiredError && this.#watch.token !== "" && this.#checkpoint === undefined) {
      this.#held.drop(error);
      return false;
    }
    if (error === older || (error instanceof VerificationError && error.code === "UNIMPLEMENTED")) {
      return !this.#served && this.#watch.failures + 1 >= olderTries;
    }
    return undefined;
  }

  /**
   * Reports, after a stream has refused its token, whether another consumer has the name now. A server that is older than consumers
   * refuses their tokens too, but it does not know acknowledgements.
   */
  async #isReplaced(signal: AbortSignal): Promise<boolean> {
    try {
      await this.#acknowledger.send(signal, this.#acknowledger.last || this.#watch.token); // it was acknowledged, or is the checkpoint's
      return false;
    } catch (error) {
      signal.throwIfAborted();
      return error instanceof ResumeTokenInvalidError || error instanceof ConsumerNotFoundError;
    }
  }

  /**
   * Acknowledges at once what was handled, because another instance can take over. A standby must not come later than leaseTime.
   */
  interrupted(error: unknown, asked: number, random: number): number {
    this.#acknowledger.hurry();
    if (!(error instanceof ConsumerBusyError)) {
      return random;
    }
    this.#watch.failures = 0;
    return Math.min(random, Math.max(leaseTime - asked, 0));
  }
}

/** Returns the error of a consumer that has the name of an earlier one. The token that the service refused is not the caller's. */
export function replaced(error: VerificationError): ConsumerNotFoundError {
  return new ConsumerNotFoundError({
    code: error.code,
    reason: error.reason,
    metadata: error.metadata,
    fromService: error.fromService,
    message: `the consumer was deleted, and another one has its name: ${error.message}`,
    cause: error,
  });
}
