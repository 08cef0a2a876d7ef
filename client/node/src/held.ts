import { type Linked, link, sleep } from "./abort.js";
import type { Acknowledger } from "./acknowledger.js";
import { FullJitter } from "./backoff.js";
import { Condition } from "./condition.js";
import type { Settings } from "./consume.js";
import type { Checkpoint, Handler } from "./consume-options.js";
import { BeginAgainError, ResumeTokenExpiredError } from "./errors.js";
import { type Change, type Queue, Queues } from "./queues.js";
import { keyOf, Recent } from "./recent.js";
import type { Bookmark, Update } from "./update.js";

/** The waits of a handler that failed. */
const handlerBackoff = new FullJitter(1000, 60_000);

/** How long add waits for room, in milliseconds. */
const roomWithin = 1000;

/** The wait after a change that is skipped, in milliseconds. It leaves the backlog to the service. */
const skipPause = 10;

/** The time that a handler has to return after its signal has aborted, in milliseconds. */
const obeyWithin = 1000;

/** Returns the reason of a stream's end if `consume` must begin again after the changes that were acknowledged. */
export function begunAgain(cause?: unknown): Error {
  return new Error("the consumer begins again after what was acknowledged or saved", { cause });
}

/** Held has the changes that were received, from the first one that is not handled on, and runs the handlers. */
export class Held {
  /** The checkpoint has saved a token in this run. */
  hasSaved = false;

  readonly #outcomes: boolean;
  readonly #handle: Handler;
  readonly #settings: Settings;
  readonly #acknowledger: Acknowledger;
  readonly #open: AbortSignal;
  /** Handled in this run. */
  readonly #done: Recent;

  /** No further handler must start. */
  #isStopped = false;
  /** As received. */
  #order: Change[] = [];
  readonly #queues = new Queues();
  #busy = 0;
  /** Of the handlers. It ends when the changes are dropped. */
  #epoch: Linked;
  /** The changes were dropped, and the stream that is open does not send them again. */
  #isDropped = false;
  /** What the open stream sends is skipped, because there was no room. */
  #isSkipping = false;
  /** The token of the change that was added last. */
  #last = "";
  /** The stream that is open. */
  #stream: Linked | undefined;
  #received = 0;
  /** Whether there is room, and whether a handler runs. */
  readonly #state = new Condition();

  constructor(outcomes: boolean, handle: Handler, settings: Settings, acknowledger: Acknowledger, open: AbortSignal) {
    this.#outcomes = outcomes;
    this.#handle = handle;
    this.#settings = settings;
    this.#acknowledger = acknowledger;
    this.#open = open;
    this.#done = new Recent(2 * settings.maxHeld + 1000);
    this.#epoch = link(open);
  }

  /**
   * Holds a change. If there is no room for a second, it skips this change and those that follow, until the stream ends: so that
   * the stream is read and its end is seen.
   */
  async add(update: Update | Bookmark): Promise<void> {
    await this.#untilRoom();
    if (this.#open.aborted || this.#isDropped || this.#isSkipping) {
      return; // changes before this one are missing
    }
    const { verification, resumeToken } = update;
    this.#last = resumeToken;
    this.#received++;
    const change: Change = {
      update,
      token: resumeToken,
      key: keyOf(verification, this.#outcomes),
      epoch: this.#epoch.signal,
      number: this.#received,
      handled: false,
      done: false,
    };
    // With a checkpoint, all changes are in one queue.
    const name = this.#settings.checkpoint === undefined ? (verification?.sessionId ?? "") : "";
    this.#queues.add(name, change);
    this.#order.push(change);
    this.#dispatch();
  }

  /** Resolves when there is room, or what comes is skipped. */
  async #untilRoom(): Promise<void> {
    if (this.#isSkipping) {
      await sleep(this.#open, skipPause);
      return;
    }
    const isFull = (): boolean => this.#order.length >= this.#settings.maxHeld;
    if (!(await this.#state.until(() => !isFull(), this.#open, roomWithin)) && !this.#open.aborted) {
      this.#isSkipping = isFull();
    }
  }

  /** Starts workers while there is something for them to do, with the change that was received first. */
  #dispatch(): void {
    while (this.#busy < this.#settings.workers && !this.#isStopped) {
      const next = this.#queues.next();
      if (next === undefined) {
        return;
      }
      next.queue.isBusy = true;
      this.#busy++;
      void this.#work(next.queue, next.change);
    }
  }

  /** Handles the first change of a queue once. */
  async #work(queue: Queue, change: Change): Promise<void> {
    const failure = await this.#try(change).then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    if (failure !== undefined && !change.epoch.aborted && asksToBeginAgain(failure.error)) {
      this.beginAgain(failure.error);
    }
    this.#busy--;
    queue.isBusy = false;
    if (failure !== undefined && !change.epoch.aborted) {
      queue.failures++;
      const wait = handlerBackoff.ceiling(queue.failures) / 2 + handlerBackoff.random(queue.failures) / 2;
      this.#waitForNextTry(queue, wait);
      if (change.update !== undefined) {
        this.#settings.onFailure?.(change.update, failure.error, wait);
      }
    } else {
      this.#queues.shift(queue);
    }
    this.#state.notify();
    this.#dispatch();
  }

  #waitForNextTry(queue: Queue, wait: number): void {
    if (this.#isStopped) {
      return;
    }
    queue.wait = setTimeout(() => {
      queue.wait = undefined;
      this.#dispatch();
    }, wait);
  }

  async #try(change: Change): Promise<void> {
    if (change.epoch.aborted) {
      return;
    }
    const { update } = change;
    const { checkpoint } = this.#settings;
    // With a checkpoint, a change that comes again is one after the token that was loaded: its effects are not in the store.
    if (!change.handled && update?.verification !== undefined && (checkpoint !== undefined || !this.#done.has(change.key))) {
      await this.#handle(update, { signal: change.epoch });
    }
    change.handled = true;
    if (checkpoint !== undefined && update !== undefined) {
      await save(checkpoint, update, change.epoch);
      this.hasSaved = true;
    }
    this.#finish(change);
    if (this.#settings.acknowledgeEach) {
      await this.#acknowledger.flush(change.epoch).catch(() => {}); // it repeats and reports by itself
    }
  }

  /** Marks a change as done, and passes on the token of the longest finished beginning. */
  #finish(change: Change): void {
    this.#done.add(change.key);
    change.done = true; // without an effect if it was dropped: it is not in the order then
    change.update = undefined;
    const unfinished = this.#order.findIndex((change) => !change.done);
    const finished = unfinished < 0 ? this.#order.length : unfinished;
    const last = this.#order[finished - 1];
    if (last !== undefined) {
      this.#order.splice(0, finished);
      this.#acknowledger.add(last.token, finished);
      this.#state.notify();
    }
    this.#readAgain();
  }

  /** Acknowledges a token if every change that was received before it is handled. It returns false otherwise. */
  passOver(token: string): boolean {
    if (this.#isDropped || this.#isSkipping || this.#order.length > 0) {
      return false;
    }
    this.#acknowledger.add(token, 0);
    return true;
  }

  /**
   * Ends a stream whose changes were skipped if half of the room is free. With a checkpoint all of it must be free, because the
   * next stream drops what is held.
   */
  #readAgain(): void {
    const enough = this.#settings.checkpoint === undefined ? Math.floor(this.#settings.maxHeld / 2) : 0;
    if (this.#isSkipping && this.#order.length <= enough) {
      this.#stream?.abort(new Error("the consumer has handled changes and has room for those that it skipped"));
    }
  }

  /**
   * Drops all changes, and those that the open stream still sends. The next stream sends them again, or another instance handles
   * them. The signal of their handlers aborts with this reason.
   */
  drop(reason: unknown): void {
    this.#endEpoch(reason);
    this.#isDropped = true;
    this.#order = [];
    this.#queues.clear();
    this.#state.notify();
    if (reason instanceof ResumeTokenExpiredError) {
      this.#acknowledger.clear();
    }
  }

  #endEpoch(reason: unknown): void {
    this.#epoch.abort(reason);
    this.#epoch.unlink();
    this.#epoch = link(this.#open);
  }

  /** Drops all changes and ends the open stream. */
  beginAgain(reason: unknown): void {
    this.drop(reason);
    this.#stream?.abort(begunAgain(reason));
  }

  /**
   * Holds the changes of a new stream. It returns the token of the stream: "" if it must send the changes again that were not
   * acknowledged, else token or that of the last change before the skipped ones.
   */
  follow(stream: Linked, token: string): string {
    const begin = this.#isDropped ? "" : this.#isSkipping ? this.#last : token;
    this.#isDropped = false;
    this.#isSkipping = false;
    this.#stream = stream;
    return begin;
  }

  /** Resolves when no handler runs. It rejects with the signal's reason if the signal aborts first. */
  async untilIdle(signal: AbortSignal): Promise<void> {
    await this.#state.until(() => this.#busy === 0, signal);
    signal.throwIfAborted();
  }

  /** Starts no further handler, and waits for those that run, for some milliseconds. Then their signal aborts. */
  async stop(within: number): Promise<void> {
    this.#isStopped = true;
    this.#queues.endWaits();
    if (!(await this.#state.until(() => this.#busy === 0, undefined, within))) {
      this.#epoch.abort(new Error("consume ends, and the handler took too long"));
      await this.#state.until(() => this.#busy === 0, undefined, obeyWithin);
    }
    this.#epoch.unlink();
  }
}

/** Reports whether an error or one of its causes is a BeginAgainError. */
function asksToBeginAgain(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof BeginAgainError) {
      return true;
    }
  }
  return false;
}

async function save(checkpoint: Checkpoint, update: Update | Bookmark, signal: AbortSignal): Promise<void> {
  try {
    await checkpoint.save(update, signal);
  } catch (error) {
    throw new Error(`save the checkpoint: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
