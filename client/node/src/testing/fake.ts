import { clone, create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";

import type { Client, Expected } from "../client.js";
import { connect } from "../connect.js";
import { Doorbell } from "../doorbell.js";
import { Source, VerificationSchema } from "../gen/verification/v1/verification_pb.js";
import type { Verification } from "../gen/verification/v1/verification_pb.js";
import type { ConnectOptions } from "../options.js";
import { sessionIdForm } from "./checks.js";
import type { CompareAnswer } from "./comparison.js";
import { deleteConsumer } from "./consumer.js";
import { fault } from "./fault.js";
import type { Fault } from "./fault.js";
import { LocalReplica } from "./replica.js";
import type { FakeServerOptions, Replica } from "./replica.js";
import type { RetryAnswer } from "./retry.js";
import { State } from "./state.js";
import type { NameCaller } from "./state.js";

/** How long awaitStreams waits, in milliseconds. */
const awaitLimit = 30_000;

/** FakeServer is a fake verification-status at one or more addresses. Open streams get each change at once. */
export class FakeServer implements Replica {
  readonly #options: FakeServerOptions;
  readonly #state = new State();
  readonly #replicas: LocalReplica[] = [];
  readonly #clients: Client[] = [];

  private constructor(options: FakeServerOptions) {
    this.#options = options;
  }

  /** Starts a server. Close it in the end, also with `await using`. It rejects if the address cannot be listened at. */
  static async start(options: FakeServerOptions = {}): Promise<FakeServer> {
    const server = new FakeServer(options);
    await server.listen(options.address);
    return server;
  }

  /** Serves the same sessions at another address, such as `127.0.0.2:0`, as another replica of the service does. */
  async listen(address = "127.0.0.1:0"): Promise<Replica> {
    const replica = new LocalReplica(this.#state, address, this.#options);
    await replica.start();
    this.#replicas.push(replica);
    return replica;
  }

  get #first(): LocalReplica {
    return this.#replicas[0] as LocalReplica;
  }

  /** The first address, as `host:port`. `start`, `stop`, `drain` and `setReady` of the server act on the first address too. */
  get target(): string {
    return this.#first.target;
  }

  start(): Promise<void> {
    return this.#first.start();
  }

  stop(): Promise<void> {
    return this.#first.stop();
  }

  drain(): Promise<void> {
    return this.#first.drain();
  }

  setReady(ready: boolean): void {
    this.#first.setReady(ready);
  }

  /**
   * Returns a client of all current addresses, in plain text. Its backoff is milliseconds in place of seconds. It is closed with the
   * server.
   */
  client(options: ConnectOptions = {}): Client {
    const targets = this.#replicas.map((replica) => replica.target);
    const client = connect(targets, { plaintext: true, backoff: { base: 2, max: 50 }, ...options });
    this.#clients.push(client);
    return client;
  }

  /** Closes the clients and stops the addresses. Closing twice is no error. */
  async close(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.close();
    await Promise.all(this.#replicas.map((replica) => replica.stop()));
  }

  /** Is `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Makes v the current state of its session, as the next revision, and returns the state as clients see it. It makes no revision if v
   * equals the current state. It throws a TypeError if the session id is invalid.
   *
   * The first `set` of a session id creates the session. Of several sessions with one clientReferenceId, the one created last is the
   * newest. `set` completes v:
   *
   * - It always sets settled, revision, outcomeRevision and outcomeId.
   * - It sets missing times, a second apart for each change, and a missing stripeStatus, stripeType, stripeCode and category.
   * - It keeps type, clientReferenceId, account, supersededBy, replaces and resolution of the state before, if they are missing. A
   *   resolution without a kind takes an earlier one back.
   * - It sets a missing retry by the rules of the service with its default settings: two retries at first, and one failure for each
   *   lastVerificationReport with a lastError (without a report, for each `set` with a new lastError). "abandoned" is not a failure.
   * - As at Stripe, a redaction clears the reference, the error and the report, and stays; a cancel clears the error. A redaction also
   *   clears the name of the operator in a resolution.
   */
  set(v: MessageInitShape<typeof VerificationSchema>): Verification {
    const next = clone(VerificationSchema, create(VerificationSchema, v));
    if (!sessionIdForm.test(next.sessionId)) {
      throw new TypeError(
        `set: sessionId ${JSON.stringify(next.sessionId)}: it must be "vs_" and 1 to 252 letters, digits or underscores`,
      );
    }
    return clone(VerificationSchema, this.#state.set(next, Source.WEBHOOK));
  }

  /** Adds a session to the list of the filter inDoubt, or removes it. It does nothing for an unknown session. */
  setInDoubt(sessionId: string, inDoubt: boolean): void {
    const life = this.#state.sessions.get(sessionId);
    if (life !== undefined) life.inDoubt = inDoubt;
  }

  /** Makes every call fail with this error, and ends open watches with it, until `fail(undefined)`. {@link fault} makes errors. */
  fail(error: Fault | undefined): void {
    this.#state.fail = error;
    this.#state.wake();
  }

  /**
   * Makes the next calls fail, of any method, each with one of these errors. The client can repeat a call that fails with UNAVAILABLE:
   * such a call takes several errors.
   */
  failNext(...errors: Fault[]): void {
    this.#state.failNext.push(...errors);
  }

  /** Ends the open watches with this error; without one: with the error of a server that stops. */
  cutStreams(error: Fault = fault("DRAINING")): void {
    this.#state.cutStreams(error);
  }

  /** Makes all earlier resume tokens fail with OUT_OF_RANGE. Open watches continue. */
  expireTokens(): void {
    this.#state.epoch++;
    this.#state.wake();
  }

  /** Sends a heartbeat to every open watch at once. */
  heartbeat(): void {
    this.#state.beats++;
    this.#state.wake();
  }

  /** Makes the watches send nothing while it is on, not even heartbeats, as a dead connection does that was not closed. */
  silence(on: boolean): void {
    this.#state.silent = on;
    this.#state.wake();
  }

  /**
   * Sets the function that answers RetryVerification. It can throw {@link retryDenied}, {@link stripeRefused} or {@link fault}. With
   * undefined, the rules of the service with its default settings apply again:
   *
   * - A retry is denied if `retry` of the session says so.
   * - Otherwise the answer is a new link. A failed session uses one of its retries, once for each failure, or what an operator allowed.
   * - With replaceClosed, a canceled session gets a replacement, whose id is the old one with `_replacement`.
   * - With ephemeralKeyVersion, the answer also has a new key, `ek_test_` and the session's id and a number.
   */
  onRetry(answer: RetryAnswer | undefined): void {
    this.#state.onRetry = answer;
  }

  /**
   * Sets the function that returns the name of a caller, such as `token:billing`, by the headers of the call. The history and
   * resolutions name the caller by it. With undefined, callers have no names, which is the default.
   */
  nameCallers(name: NameCaller | undefined): void {
    this.#state.nameCaller = name;
  }

  /**
   * Sets what Stripe verified in a session. CompareVerifiedOutputs compares with it character by character: it does not know the rules
   * of names. A field that is empty was not verified. See `onCompare` for other results.
   */
  setOutputs(sessionId: string, outputs: Expected): void {
    this.#state.comparisons.outputs.set(sessionId, outputs);
  }

  /**
   * Sets the function that answers CompareVerifiedOutputs after the request was checked and counted. With undefined, the server
   * compares with `setOutputs`.
   */
  onCompare(answer: CompareAnswer | undefined): void {
    this.#state.comparisons.answer = answer;
  }

  /**
   * Makes the changes that a consumer has not acknowledged be gone: its next stream without a token of its own fails with OUT_OF_RANGE.
   * An open stream continues, and an acknowledgement heals it. It does nothing for an unknown name.
   */
  expireConsumer(name: string): void {
    const consumer = this.#state.consumers.get(name);
    if (consumer !== undefined) consumer.expired = true;
  }

  /**
   * Deletes a consumer, as `deleteConsumer` of a client does, or a store that has lost it. An open stream of it ends with ABORTED. It
   * does nothing for an unknown name.
   */
  deleteConsumer(name: string): void {
    deleteConsumer(this.#state, name);
  }

  /**
   * Makes a consumer busy while hold is true, as a stream of another instance does. It ends the open stream of the consumer. It throws
   * a TypeError for an unknown name.
   */
  holdConsumer(name: string, hold: boolean): void {
    const consumer = this.#state.consumers.get(name);
    if (consumer === undefined) throw new TypeError(`holdConsumer: there is no consumer ${name}`);
    consumer.holder = undefined;
    consumer.held = hold;
    this.#state.wake();
  }

  /**
   * Makes a consumer stay busy for 15 s after the end of its stream while it is on, as if the server of the stream had been killed.
   * Otherwise the consumer is free at once.
   */
  keepLeases(on: boolean): void {
    this.#state.keepLeases = on;
  }

  /** How many watches are open now, and how many have been opened since the start. */
  get streams(): { readonly open: number; readonly opened: number } {
    return { open: this.#state.streams.size, opened: this.#state.opened };
  }

  /**
   * Waits until this number of watches have been opened since the start, including closed ones. It rejects after 30 s, and with the
   * reason of the signal.
   */
  async awaitStreams(opened: number, signal?: AbortSignal): Promise<void> {
    const bell = new Doorbell();
    const limit = AbortSignal.timeout(awaitLimit);
    const ends = signal === undefined ? [limit] : [signal, limit];
    for (const end of ends) end.addEventListener("abort", bell.ring);
    this.#state.bells.add(bell.ring);
    try {
      while (this.#state.opened < opened) {
        signal?.throwIfAborted();
        if (limit.aborted) throw new Error(`${this.#state.opened} watches were opened, not ${opened}`);
        await bell.wait();
      }
    } finally {
      this.#state.bells.delete(bell.ring);
      for (const end of ends) end.removeEventListener("abort", bell.ring);
    }
  }
}
