import { onAbort } from "../abort.js";
import { Doorbell } from "../doorbell.js";
import type { Subject } from "../subject.js";
import { bodyOf } from "./body.js";
import { format, retry, spread } from "./event.js";
import { harmless } from "./logger.js";
import type { Logger } from "./logger.js";
import { defaultTimes } from "./options.js";
import type { Authorized, EventStreamsOptions, RequestLike, Times, Viewer } from "./options.js";
import { Outage } from "./outage.js";
import { Reach } from "./reach.js";
import { Slots } from "./slots.js";
import { streamEvents } from "./stream.js";
import type { Shared } from "./stream.js";

const headers = {
  "Content-Type": "text/event-stream",
  "Cache-Control": "no-cache, no-transform", // no-transform: some proxies compress otherwise, and buffer
  "X-Accel-Buffering": "no", // nginx
  "X-Content-Type-Options": "nosniff",
};

/** Bridge is what all streams of one {@link eventStreams} share. */
export class Bridge<R extends RequestLike> implements Shared {
  readonly client: EventStreamsOptions<R>["client"];
  readonly times: Times;
  readonly logger: Logger;
  readonly outage: Outage;
  readonly slots: Slots;
  readonly #authorize: EventStreamsOptions<R>["authorize"];
  readonly #signal: AbortSignal | undefined;
  readonly #reach: Reach;

  /** Makes a bridge without a stream. It throws a RangeError for a limit below 1. */
  constructor(options: EventStreamsOptions<R>, times: Times = defaultTimes) {
    this.client = options.client;
    this.times = times;
    this.logger = harmless(options.logger ?? console);
    this.outage = new Outage(this.logger);
    this.slots = new Slots({
      user: limit("maxStreams", options.maxStreams, 8),
      address: limit("maxStreamsPerAddress", options.maxStreamsPerAddress, 250),
      all: limit("maxStreamsTotal", options.maxStreamsTotal, 5_000),
    });
    this.#authorize = options.authorize;
    this.#signal = options.signal;
    this.#reach = new Reach(this.client, this.outage, times.live, times.reach);
  }

  /**
   * Answers a request. It never rejects.
   *
   * It answers a temporary failure with 200 and closes the stream: an EventSource never reconnects after another status, such as 204 or
   * 503, and the user would have to reload the page.
   */
  async handle(request: R): Promise<Response> {
    if ((request.method ?? "GET") !== "GET") return refusal(405, "only GET streams events", { Allow: "GET" });
    let viewer: Authorized;
    try {
      viewer = await this.#authorize(request);
    } catch (error) {
      this.logger.error("sse: authorize failed", { error });
      return this.#stream(request, begin);
    }
    if (viewer === "not_signed_in") return refusal(401, "not signed in");
    if (viewer === "forbidden") return refusal(403, "forbidden");
    if (!viewer?.user) {
      this.logger.error("sse: authorize returned no user: it is required");
      return refusal(500, "internal error");
    }
    const { subject } = viewer;
    // A program in JavaScript can return null. No limit keeps a person from beginning.
    if (subject === undefined || subject === null) return this.#stream(request, (gone) => this.#nothing(gone));
    const lastEventId = header(request, "last-event-id");
    return this.#stream(request, (gone) => this.#events(viewer, subject, lastEventId, gone));
  }

  async *#events(viewer: Viewer, subject: Subject, lastEventId: string, gone: AbortSignal): AsyncGenerator<string, void, void> {
    yield* begin();
    yield* streamEvents(this, viewer, subject, lastEventId, gone);
  }

  /** Answers a user without a session. The page of such a user is current as long as the service answers. */
  async *#nothing(gone: AbortSignal): AsyncGenerator<string, void, void> {
    yield* begin();
    yield format({ name: "unknown", retry: spread(retry.unknown) });
    const bell = new Doorbell();
    let isReachable: boolean | undefined;
    void this.#reach.reachable().then((answer) => {
      isReachable = answer;
      bell.ring();
    });
    const unlink = onAbort(gone, bell.ring);
    if (!gone.aborted) await bell.wait();
    unlink();
    if (isReachable !== undefined) yield format({ name: isReachable ? "live" : "stale" });
  }

  #stream(request: R, texts: (gone: AbortSignal) => AsyncGenerator<string, void, void>): Response {
    const signals = [request.signal, this.#signal].filter((signal) => signal !== undefined);
    return new Response(bodyOf(texts, signals, this.times.write), { headers });
  }
}

/** Yields the first block of a stream, which browsers take their wait before a reconnect from. */
async function* begin(): AsyncGenerator<string, void, void> {
  yield format({ retry: spread(retry.break) });
}

function refusal(status: number, text: string, more: Record<string, string> = {}): Response {
  const plain = { "Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", ...more };
  return new Response(`${text}\n`, { status, headers: plain });
}

/** Returns a header of a request, or an empty text. The name is in lower case. */
function header({ headers }: RequestLike, name: string): string {
  const value = typeof headers.get === "function" ? headers.get(name) : (headers as Record<string, string | undefined>)[name];
  return value ?? "";
}

/** Returns a limit of streams, or its default. */
function limit(name: string, value: number | undefined, standard: number): number {
  if (value === undefined) return standard;
  if (!(value >= 1)) throw new RangeError(`${name} is ${value}: it must be 1 or more`);
  return value;
}
