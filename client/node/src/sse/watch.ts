import type { Client } from "../client.js";
import { ResumeTokenExpiredError, ResumeTokenInvalidError } from "../errors.js";
import type { Subject } from "../subject.js";
import type { Bookmark, Update } from "../update.js";
import type { WatchOptions } from "../watch-options.js";

/** The contract's rules for a token. Any other Last-Event-ID is not from this bridge. */
const resumeToken = /^[A-Za-z0-9_.~-]{1,2048}$/;

/** Step is one step of a watch: an update, or the error that ended it. */
export type Step = { readonly update: Update | Bookmark; readonly error?: undefined } | { readonly error: unknown };

/** WatchFrom says what a watch begins with, and what ends it. */
export interface WatchFrom {
  readonly subject: Subject;
  readonly lastEventId: string;
  /** In milliseconds. */
  readonly heartbeat: number;
  readonly signal: AbortSignal;
}

/**
 * HeldWatch is a watch that a stream reads. It holds one step until the stream takes it, so that the watch does not read ahead of the
 * browser.
 */
export class HeldWatch {
  readonly #ring: () => void;
  /** Resolves when the watch has ended. */
  readonly ended: Promise<void>;
  #step: Step | undefined;
  #taken = (): void => {};
  #interruption: unknown;
  #over = false;

  /** Begins the watch. ring is called when there is something to take. */
  constructor(client: Pick<Client, "watch">, from: WatchFrom, ring: () => void) {
    this.#ring = ring;
    from.signal.addEventListener("abort", () => this.#taken(), { once: true });
    this.ended = this.#run(client, from);
  }

  /** Returns the error of an interruption since the last call, after which the watch resumes. */
  takeInterruption(): unknown {
    const error = this.#interruption;
    this.#interruption = undefined;
    return error;
  }

  /** Returns the next step, if there is one. */
  take(): Step | undefined {
    const step = this.#step;
    this.#step = undefined;
    this.#taken();
    return step;
  }

  /** Whether the watch has ended and all was taken. */
  get isOver(): boolean {
    return this.#over && this.#step === undefined;
  }

  async #run(client: Pick<Client, "watch">, from: WatchFrom): Promise<void> {
    const onInterruption = (error: unknown): void => {
      if (error instanceof ResumeTokenExpiredError) return; // it is an answer: a reset follows
      this.#interruption = error;
      this.#ring();
    };
    try {
      for await (const update of updates(client, from, onInterruption)) await this.#hold({ update }, from.signal);
    } catch (error) {
      if (!from.signal.aborted) await this.#hold({ error }, from.signal);
    }
    this.#over = true;
    this.#ring();
  }

  /** Resolves when the stream has taken the step, or has ended. */
  async #hold(step: Step, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#step = step;
    await new Promise<void>((resolve) => {
      this.#taken = resolve;
      this.#ring();
    });
  }
}

/**
 * Watches from the browser's position. If the browser's token is invalid, or of another user or version, the watch begins with the
 * current status and a reset.
 */
async function* updates(
  client: Pick<Client, "watch">,
  from: WatchFrom,
  onInterruption: (error: unknown) => void,
): AsyncGenerator<Update | Bookmark, void, void> {
  const { subject, lastEventId, heartbeat, signal } = from;
  let token = resumeToken.test(lastEventId) ? lastEventId : "";
  let reset = token !== lastEventId;
  for (;;) {
    const options: WatchOptions = { resumeFrom: token || undefined, bookmarks: true, heartbeat, onInterruption, signal };
    try {
      for await (const update of client.watch(subject, options)) {
        if (reset && update.verification !== undefined) {
          reset = false;
          yield { ...update, reset: true };
        } else {
          yield update;
        }
        token = update.resumeToken;
      }
      return;
    } catch (error) {
      if (token === "" || !(error instanceof ResumeTokenInvalidError)) throw error;
      token = "";
      reset = true;
    }
  }
}
