import { onAbort } from "../abort.js";
import { Doorbell } from "../doorbell.js";
import type { Subject } from "../subject.js";
import { format, retry, spread } from "./event.js";
import type { Logger } from "./logger.js";
import type { EventStreamsOptions, RequestLike, Times, Viewer } from "./options.js";
import type { Outage } from "./outage.js";
import { Page } from "./page.js";
import type { Slots } from "./slots.js";
import { HeldWatch } from "./watch.js";

/** Shared is what all streams share. */
export interface Shared {
  readonly client: EventStreamsOptions<RequestLike>["client"];
  readonly times: Times;
  readonly logger: Logger;
  readonly outage: Outage;
  readonly slots: Slots;
}

/**
 * Yields the events of a watch until gone aborts, or the watch or the user's sign-in ends. The watch has ended when the generator has
 * returned.
 */
export async function* streamEvents(
  shared: Shared,
  viewer: Viewer,
  subject: Subject,
  lastEventId: string,
  gone: AbortSignal,
): AsyncGenerator<string, void, void> {
  const { client, times, logger, outage, slots } = shared;
  const { session } = viewer;
  const bell = new Doorbell();
  const happened = { displaced: false, aged: false, beat: false };
  const alarm = (what: keyof typeof happened) => (): void => {
    happened[what] = true;
    bell.ring();
  };
  const slot = slots.take(viewer.user, viewer.address ?? "", alarm("displaced"));
  const beat = setInterval(alarm("beat"), times.live);
  const age = setTimeout(alarm("aged"), times.age * (1 - Math.random() / 5));
  const unlink = [gone, session].map((signal) => signal && onAbort(signal, bell.ring));
  const left = new AbortController();
  const watch = new HeldWatch(client, { subject, lastEventId, heartbeat: times.live, signal: left.signal }, bell.ring);
  const page = new Page(logger, outage);

  /** Returns the last text, if the stream must end. */
  const last = (): string | undefined => {
    if (session?.aborted) return format({ name: "end", data: '{"reason":"signed_out"}', retry: retry.long });
    if (happened.displaced) return format({ name: "busy", retry: spread(retry.long) });
    return happened.aged ? format({ retry: spread(retry.aged) }) : undefined;
  };

  /** Returns the text of what has happened since; empty: nothing. */
  const news = (): string => {
    const interruption = watch.takeInterruption();
    if (interruption !== undefined) return page.lose(interruption);
    const step = watch.take();
    if (step !== undefined) return page.tell(step);
    const isDue = happened.beat;
    happened.beat = false;
    return isDue ? page.beat(times.live) : "";
  };

  try {
    while (!gone.aborted) {
      const end = last();
      if (end !== undefined) {
        yield end;
        return;
      }
      const text = news();
      if (text !== "") yield text;
      else if (watch.isOver || page.hasFailed) return;
      else await bell.wait();
    }
  } finally {
    clearInterval(beat);
    clearTimeout(age);
    for (const undo of unlink) undo?.();
    slots.leave(slot);
    page.close();
    left.abort();
    await watch.ended;
  }
}
