import { InvalidRequestError, NotFoundError, UnauthenticatedError, VerificationError } from "../errors.js";
import type { Verification } from "../gen/verification/v1/verification_pb.js";
import { format, retry, spread } from "./event.js";
import type { Logger } from "./logger.js";
import type { Outage } from "./outage.js";
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
  #failed = false;

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

  /** Whether an update could not be sent. The stream must end, and the browser reconnects after retry.break. */
  get hasFailed(): boolean {
    return this.#failed;
  }

  /** Returns what tells the page one step of the watch. Nothing follows an error of the watch. */
  tell(step: Step): string {
    if ("update" in step) return this.#tellUpdate(step.update);
    const { error } = step;
    if (!isOfService(error) && !isOfProgram(error)) return this.lose(error); // the browser reconnects after retry.break
    if (error instanceof NotFoundError) return format({ name: "unknown", retry: spread(retry.unknown) }, live);
    this.#logger.error("sse: a watch has ended; the browser will reconnect", { error });
    return format({ name: "stale", retry: spread(retry.long) });
  }

  #tellUpdate({ verification, resumeToken: id, reset }: Extract<Step, { update: unknown }>["update"]): string {
    this.#heard = performance.now();
    if (this.#stale) {
      this.#stale = false;
      this.#outage.end(true);
    }
    if (verification === undefined) return format({ ...live, id });
    const data = this.#encode(verification);
    if (data === undefined) return "";
    const status = { name: "status", id, data };
    return reset ? format({ name: "reset" }, status, { ...live, id }) : format(status, { ...live, id });
  }

  /** Returns the data of a status. It returns undefined, and the page has failed, if a field of the verification has no JSON. */
  #encode(verification: Verification): string | undefined {
    try {
      return shown(verification);
    } catch (error) {
      this.#failed = true;
      this.#logger.error("sse: a verification cannot be encoded", { sessionId: verification.sessionId, error });
      return undefined;
    }
  }
}

/**
 * Returns whether an error is the service's own. An error of a proxy says nothing about the session or about this program's rights: it
 * can come during a deployment of the service.
 */
function isOfService(error: unknown): boolean {
  return error instanceof VerificationError && error.reason !== undefined;
}

/**
 * Returns whether an error is a fault of this program: it has a subject or a token that cannot be sent. Another try soon does not help.
 * An error of a proxy has gRPC's error as its cause. The client's other errors, such as that of a closed client, are interruptions.
 */
function isOfProgram(error: unknown): boolean {
  if (!(error instanceof VerificationError)) return true; // such as a TypeError, by a subject of another type
  const isRefused = error instanceof InvalidRequestError || error instanceof UnauthenticatedError;
  return isRefused && !error.fromService && error.cause === undefined;
}
