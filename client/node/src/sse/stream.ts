import { onAbort } from "../abort.js";
import { Doorbell } from "../doorbell.js";
import type { Subject } from "../subject.js";
import { format, retry, spread } from "./event.js";
import type { EventStreamsOptions, RequestLike, Times, Viewer } from "./options.js";
import type { Logger, Outage } from "./outage.js";
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
  const { times, logger, outage, slots } = shared;
  const bell = new Doorbell();
  let isDisplaced = false;
  let isAged = false;
  let isDue = false;
  const slot = slots.take(viewer.user, viewer.address ?? "", () => {
    isDisplaced = true;
    bell.ring();
  });
  const beat = setInterval(() => {
    isDue = true;
    bell.ring();
  }, times.live);
  const age = setTimeout(
    () => {
      isAged = true;
      bell.ring();
    },
    times.age * (1 - Math.random() / 5),
  );
  const { session } = viewer;
  const unlink = [gone, session].map((signal) => signal && onAbort(signal, bell.ring));
  const left = new AbortController();
  const page = new Page(logger, outage);
  const watch = new HeldWatch(shared.client, { subject, lastEventId, heartbeat: times.live, signal: left.signal }, bell.ring);

  /** Returns the text of what has happened since; empty: nothing. */
  const news = (): string => {
    const interruption = watch.takeInterruption();
    if (interruption !== undefined) return page.lose(interruption);
    const step = watch.take();
    if (step !== undefined) return page.tell(step);
    const text = isDue ? page.beat(times.live) : "";
    isDue = false;
    return text;
  };

  try {
    while (!gone.aborted) {
      if (session?.aborted) {
        yield format({ name: "end", data: '{"reason":"signed_out"}', retry: retry.long });
        return;
      }
      if (isDisplaced) {
        yield format({ name: "busy", retry: spread(retry.long) });
        return;
      }
      if (isAged) {
        yield format({ retry: spread(retry.aged) });
        return;
      }
      const text = news();
      if (text !== "") yield text;
      else if (watch.isOver) return;
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
