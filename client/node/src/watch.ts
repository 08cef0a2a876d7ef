import type { MessageShape } from "@bufbuild/protobuf";

import { link, sleep } from "./abort.js";
import type { Linked } from "./abort.js";
import type { Transport } from "./attempt.js";
import type { FullJitter } from "./backoff.js";
import { durationOf } from "./duration.js";
import { askedWait, checkText, invalid } from "./error-from.js";
import { VerificationError } from "./errors.js";
import {
  VerificationService,
  type WatchStatusRequestSchema,
  type WatchStatusResponse,
} from "./gen/verification/v1/verification_pb.js";
import { ResponseStream } from "./response-stream.js";
import type { Bookmark, Update } from "./update.js";
import type { StreamOptions } from "./watch-options.js";
import { WatchedStream } from "./watched-stream.js";
import { encode, methodOf } from "./wire.js";

const watchStatus = methodOf(VerificationService.method.watchStatus);

type Request = MessageShape<typeof WatchStatusRequestSchema>;

/**
 * The contract's limits of a heartbeat, and the default of this package, in milliseconds. The program of the conformance kit lowers the
 * first one: with the contract's, a test of a silent stream takes 12.5 s.
 */
export const heartbeats = { min: 5000, max: 300_000, usual: 30_000 };

/** Consumer is what `consume` changes in a watch. */
export interface Consumer {
  /** Prepares the next stream, which scope ends. */
  begin(scope: Linked): Promise<void>;
  /** Throws an error if a response is not for this consumer. first is that of a stream. */
  accept(response: WatchStatusResponse, first: boolean, signal: AbortSignal): Promise<void>;
  /** Returns whether an error is final, where that differs from a watch. Otherwise it returns undefined. */
  isFinal(error: unknown, signal: AbortSignal): Promise<boolean | undefined>;
  /** Takes notice of an interruption. It returns the random part of the wait before the next stream. */
  interrupted(error: unknown, asked: number, random: number): number;
}

/** Position is what the watch keeps of a handled verification. It is a copy, because the loop body can change the verification. */
interface Position {
  readonly session: string;
  readonly revision: number;
  readonly settled: boolean;
}

/** Watch is one run of the loop, over one stream after the other. */
export class Watch {
  readonly request: Request;
  /** Of the last handled response. */
  token = "";
  bookmarks = false;
  consumer: Consumer | undefined;
  /** In a row. */
  failures = 0;
  /** A stream that is silent for so many milliseconds is closed and resumed. */
  silenceTimeout: number;
  readonly onInterruption: (error: Error, wait: number) => void;

  readonly #transport: Transport;
  readonly #backoff: FullJitter;
  readonly #bearer: string | undefined;
  #last: Position | undefined;
  /** The next verification has Update.reset. */
  #reset = false;
  /** A response has arrived, or the first stream has failed. */
  #begun = false;

  constructor(transport: Transport, backoff: FullJitter, request: Request, options: StreamOptions) {
    this.#transport = transport;
    this.#backoff = backoff;
    this.request = request;
    this.#bearer = options.token;
    this.onInterruption = options.onInterruption ?? (() => {});
    const heartbeat = Math.min(Math.max(options.heartbeat ?? heartbeats.usual, heartbeats.min), heartbeats.max);
    this.silenceTimeout = heartbeat * 2.5;
    this.request.heartbeat = durationOf(heartbeat);
  }

  /** Follows one stream after the other, until the watch ends. The signal ends it with its reason. */
  async *run(signal: AbortSignal): AsyncGenerator<Update | Bookmark, void, undefined> {
    for (;;) {
      signal.throwIfAborted();
      const stream = new WatchedStream(this.silenceTimeout, signal);
      try {
        await this.consumer?.begin(stream.scope);
        const responses = this.#open(stream.scope.signal);
        for (;;) {
          const response = await stream.receive(responses);
          if (response === undefined) {
            if (this.#isSettled()) {
              return;
            }
            throw new Error("the stream ended without an error");
          }
          await this.consumer?.accept(response, stream.isFirst, stream.scope.signal);
          const update = this.#received(response);
          if (update !== undefined) {
            const { verification } = update;
            const position = verification && {
              session: verification.sessionId,
              revision: verification.revision,
              settled: verification.settled,
            };
            yield update;
            if (position !== undefined) {
              this.#last = position;
              this.#reset = false;
            }
          }
          this.token = response.resumeToken;
        }
      } catch (error) {
        stream.end();
        await this.#interrupted(error, signal);
      } finally {
        stream.end();
      }
    }
  }

  #open(signal: AbortSignal): ResponseStream<typeof watchStatus.input, typeof watchStatus.output> {
    this.request.resumeToken = this.token;
    return new ResponseStream(this.#transport, watchStatus, this.#encode(), this.#bearer, signal);
  }

  #encode(): Buffer {
    try {
      checkText("the resume token", this.token);
      return encode(watchStatus.input, this.request);
    } catch (error) {
      throw new Unsendable(
        error instanceof VerificationError ? error : invalid(error instanceof Error ? error.message : String(error)),
      );
    }
  }

  /** Returns what the loop body gets of a response, or undefined: nothing. */
  #received(response: WatchStatusResponse): Update | Bookmark | undefined {
    this.failures = 0;
    this.#begun = true;
    const { verification, resumeToken } = response;
    if (verification === undefined) {
      return this.bookmarks ? { resumeToken, reset: false } : undefined;
    }
    if (this.#wasHandled(verification.sessionId, verification.revision)) {
      return undefined;
    }
    return { verification, resumeToken, reset: this.#reset };
  }

  /** A watch of all sessions does not keep all positions, so it returns false there. */
  #wasHandled(session: string, revision: number): boolean {
    return !this.#isOfAll && this.#last !== undefined && session === this.#last.session && revision <= this.#last.revision;
  }

  get #isOfAll(): boolean {
    return this.request.subject.case === "allSessions";
  }

  /**
   * Returns the meaning of OK. The server ends a stream with OK only for untilSettled. If the session is not settled, or a proxy
   * answers OK, the stream is interrupted.
   */
  #isSettled(): boolean {
    return this.request.untilSettled && (this.#last === undefined || this.#last.settled);
  }

  /** Returns when the next stream can begin. It throws the error that ends the watch. */
  async #interrupted(error: unknown, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (await this.#isFinal(error, signal)) {
      throw error instanceof Unsendable ? error.error : error;
    }
    this.#begun = true;
    this.failures++;
    const asked = askedWait(error);
    let random = this.#backoff.random(this.failures);
    random = this.consumer?.interrupted(error, asked, random) ?? random;
    this.onInterruption(error instanceof Error ? error : new Error(String(error)), asked + random);
    await this.#pause(signal, asked, random);
    signal.throwIfAborted();
  }

  /** Reports whether another try cannot succeed. Otherwise it prepares the next try. */
  async #isFinal(error: unknown, signal: AbortSignal): Promise<boolean> {
    const decided = await this.consumer?.isFinal(error, signal);
    if (decided !== undefined) {
      return decided;
    }
    if (error instanceof Unsendable) {
      return true;
    }
    if (!(error instanceof VerificationError)) {
      return false; // it fell silent, or ended without an error
    }
    switch (error.code) {
      case "INVALID_ARGUMENT":
      case "NOT_FOUND":
      case "ALREADY_EXISTS":
      case "PERMISSION_DENIED":
      case "UNAUTHENTICATED":
      case "FAILED_PRECONDITION":
      case "UNIMPLEMENTED":
        // A proxy's 404 is UNIMPLEMENTED here, its 403 PERMISSION_DENIED, its 401 UNAUTHENTICATED. The first answer is final: it
        // can come from a wrong address, and the caller must learn of it.
        return error.fromService || !this.#begun;
      case "OUT_OF_RANGE": // no HTTP status becomes this code
        if (this.#isOfAll) {
          return true;
        }
        this.token = "";
        this.#last = undefined;
        this.#reset = true;
    }
    return false;
  }

  /**
   * Waits before the next try: first for asked, the wait that the server asks for, then for at most random. If the connection was
   * lost, the second wait ends early: at a random moment within the backoff's base after the connection is back, so that watches do
   * not all resume at once.
   */
  async #pause(signal: AbortSignal, asked: number, random: number): Promise<void> {
    const { connections } = this.#transport;
    if (connections.ready) {
      await sleep(signal, asked + random);
      return;
    }
    if (!(await sleep(signal, asked))) {
      return;
    }
    const over = link(signal);
    const timer = setTimeout(() => over.abort(undefined), random);
    if (await connections.whenReady(over.signal)) {
      await sleep(over.signal, Math.random() * this.#backoff.base);
    }
    clearTimeout(timer);
    over.unlink();
  }
}

/** Unsendable is a request that cannot be sent. */
class Unsendable extends Error {
  readonly error: VerificationError;

  constructor(error: VerificationError) {
    super(error.message);
    this.error = error;
  }
}
