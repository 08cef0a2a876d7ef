import { create } from "@bufbuild/protobuf";

import { link, onAbort } from "./abort.js";
import { acknowledgeTimeout, Acknowledger } from "./acknowledger.js";
import type { Transport } from "./attempt.js";
import type { FullJitter } from "./backoff.js";
import type { ConsumeOptions, Handler } from "./consume-options.js";
import { ConsumerStreams, replaced } from "./consumer-streams.js";
import { checkText } from "./error-from.js";
import { ResumeTokenInvalidError } from "./errors.js";
import { type AllSessions, AllSessionsSchema, WatchStatusRequestSchema } from "./gen/verification/v1/verification_pb.js";
import { Held } from "./held.js";
import { Watch } from "./watch.js";

const defaultMaxHeld = 1000;
/** More changes than this take gigabytes. */
const mostHeld = 1_000_000;
const defaultDrainWithin = 10_000;

/** Base is what `consume` needs of its client. */
export interface Base {
  readonly transport: Transport;
  readonly backoff: FullJitter;
  /** Aborts when the client closes. */
  readonly closed: AbortSignal;
}

/** See {@link Client.consume}. */
export async function consume(base: Base, name: string, handle: Handler, options: ConsumeOptions): Promise<void> {
  const { workers = 1, maxHeld = defaultMaxHeld, drainWithin = defaultDrainWithin, checkpoint } = options;
  check(name, workers, maxHeld, drainWithin, checkpoint !== undefined);
  if (options.signal?.aborted) {
    return;
  }
  const all = create(AllSessionsSchema, {
    consumer: name,
    outcomesOnly: !(options.everyChange ?? false),
    mustExist: options.mustExist ?? false,
    statuses: [...(options.statuses ?? [])],
  });
  // The stream outlives the caller's signal by the drain, so that no other instance takes over before the last acknowledgement.
  const open = link(base.closed);
  const run = new Consumption(base, all, handle, { ...options, workers, maxHeld, drainWithin }, open.signal);
  try {
    await run.untilEnd(options.signal);
  } finally {
    open.abort(undefined);
    open.unlink();
    await run.received;
  }
}

function check(name: string, workers: number, maxHeld: number, drainWithin: number, hasCheckpoint: boolean): void {
  const problems: string[] = [];
  if (name === "") {
    problems.push("a consumer needs a name");
  }
  if (!(workers >= 1 && maxHeld >= 1 && drainWithin >= 0)) {
    problems.push(`workers ${workers}, maxHeld ${maxHeld} and drainWithin ${drainWithin}: at least 1, 1 and 0`);
  }
  if (!(Number.isInteger(maxHeld) && maxHeld <= mostHeld)) {
    problems.push(`maxHeld ${maxHeld}: a whole number of at most ${mostHeld}`);
  }
  if (hasCheckpoint && workers > 1) {
    problems.push("checkpoint contradicts workers: changes are handled one after the other with a checkpoint");
  }
  if (problems.length > 0) {
    throw new TypeError(`consume: ${problems.join("; ")}`);
  }
  checkText("the name of the consumer", name);
}

/** Settings are the options of `consume` with their defaults. */
export type Settings = ConsumeOptions & { readonly workers: number; readonly maxHeld: number; readonly drainWithin: number };

/** Consumption is one run: a watch that receives, handlers, and acknowledgements. */
class Consumption {
  /** Resolves when nothing is received any more. */
  readonly received: Promise<void>;

  readonly #open: AbortSignal;
  readonly #drainWithin: number;
  readonly #held: Held;
  readonly #acknowledger: Acknowledger;
  /** The error that ends the run, once there is one. */
  #failure: { readonly error: unknown } | undefined;
  #wake = (): void => {};

  constructor(base: Base, all: AllSessions, handle: Handler, settings: Settings, open: AbortSignal) {
    this.#open = open;
    this.#drainWithin = settings.drainWithin;
    const request = create(WatchStatusRequestSchema, { subject: { case: "allSessions", value: all } });
    const watch = new Watch(base.transport, base.backoff, request, settings);
    watch.bookmarks = settings.checkpoint !== undefined;
    this.#acknowledger = new Acknowledger(base, all.consumer, settings, open, {
      expired: (error) => this.#held.beginAgain(error),
      failed: (error) => this.#fail(error),
    });
    this.#held = new Held(all.outcomesOnly, handle, settings, this.#acknowledger, open);
    watch.consumer = new ConsumerStreams(watch, all, settings.checkpoint, this.#held, this.#acknowledger);
    this.received = this.#receive(watch);
  }

  /** Resolves when the caller's signal has aborted and the drain is done. It rejects with the error that ends the run. */
  async untilEnd(caller: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      const undo = caller && onAbort(caller, resolve);
      this.#wake = () => {
        undo?.();
        resolve();
      };
      if (this.#failure !== undefined) {
        this.#wake();
      }
    });
    const failure = this.#failure;
    await this.#drain(failure === undefined);
    if (failure !== undefined) {
      throw failure.error;
    }
  }

  /**
   * Waits for the handlers that run and acknowledges what they have done. It throws the error of the acknowledgement if report is
   * set.
   */
  async #drain(report: boolean): Promise<void> {
    await this.#held.stop(this.#drainWithin);
    const limit = link(this.#open);
    const timer = setTimeout(() => limit.abort(new Error(`no answer within ${acknowledgeTimeout / 1000} s`)), acknowledgeTimeout);
    try {
      await this.#acknowledger.flush(limit.signal);
    } catch (error) {
      if (report) {
        throw error;
      }
    } finally {
      clearTimeout(timer);
      limit.unlink();
    }
  }

  /** Follows one stream after the other and holds what they send. */
  async #receive(watch: Watch): Promise<void> {
    try {
      for await (const update of watch.run(this.#open)) {
        await this.#held.add(update);
      }
    } catch (error) {
      this.#fail(error instanceof ResumeTokenInvalidError ? replaced(error) : error);
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }
}
