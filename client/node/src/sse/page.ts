import { InvalidRequestError, NotFoundError, VerificationError } from "../errors.js";
import type { Bookmark, Update } from "../update.js";
import { format, retry, spread } from "./event.js";
import type { Logger, Outage } from "./outage.js";
import { shown } from "./shown.js";
import type { Step } from "./watch.js";

const live = { name: "live" } as const;

/** Page is what one page was told of its watch. */
export class Page {
  readonly #logger: Logger;
  readonly #outage: Outage;
  /** The time of the last update, or of the beginning, by performance.now. */
  #heard = performance.now();
  #stale = false;

  /** Makes a page that was told nothing yet. */
  constructor(logger: Logger, outage: Outage) {
    this.#logger = logger;
    this.#outage = outage;
  }

  /**
   * Returns "stale" again, if the page is. It also returns the first one if the watch has not answered for twice the interval: a watch
   * that waits for a connection is not interrupted.
   */
  beat(interval: number): string {
    const isSilent = performance.now() - this.#heard >= 2 * interval;
    return this.#stale || isSilent ? this.lose(new Error("the service has not answered in time")) : "";
  }

  /** Returns what tells the page that its data is stale, because of an error. */
  lose(error: unknown): string {
    if (!this.#stale) {
      this.#stale = true;
      this.#outage.begin(error);
    }
    return format({ name: "stale" });
  }

  /** Ends the page. */
  close(): void {
    if (this.#stale) this.#outage.end(false);
    this.#stale = false;
  }

  /** Returns what tells the page one step of the watch; undefined: the stream must end. It must end after an error too. */
  tell(step: Step): string | undefined {
    if ("update" in step) return this.#tellUpdate(step.update);
    const { error } = step;
    if (isTemporary(error)) return this.lose(error); // the browser reconnects after retry.break
    if (error instanceof NotFoundError) return format({ name: "unknown", retry: spread(retry.unknown) }, live);
    this.#logger.error("sse: a watch has ended; the browser will reconnect", { error });
    return format({ name: "stale", retry: spread(retry.long) });
  }

  #tellUpdate({ verification, resumeToken: id, reset }: Update | Bookmark): string | undefined {
    this.#heard = performance.now();
    if (this.#stale) {
      this.#stale = false;
      this.#outage.end(true);
    }
    if (verification === undefined) return format({ ...live, id });
    let data: string;
    try {
      data = shown(verification);
    } catch (error) {
      this.#logger.error("sse: a verification cannot be encoded", { error, sessionId: verification.sessionId });
      return undefined;
    }
    const status = { name: "status", id, data };
    return reset ? format({ name: "reset" }, status, { ...live, id }) : format(status, { ...live, id });
  }
}

/**
 * Returns whether another stream can succeed soon. An error of a proxy says nothing about the session or about this program's rights: it
 * can come during a deployment of the service. An invalid request and what is no error of a call are faults of this program.
 */
function isTemporary(error: unknown): boolean {
  return error instanceof VerificationError && error.reason === undefined && !(error instanceof InvalidRequestError);
}
