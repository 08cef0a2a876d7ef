import { onAbort } from "./abort.js";
import { maxTimeout } from "./duration.js";

/** Condition lets callers wait for a state that others change and report by notify. */
export class Condition {
  readonly #listeners = new Set<() => void>();

  /** Lets those that wait look again. */
  notify(): void {
    for (const listener of [...this.#listeners]) {
      listener();
    }
  }

  /** Resolves to true when holds returns true, and to false if the signal aborts or the time, in milliseconds, is over first. */
  until(holds: () => boolean, signal?: AbortSignal, within = Infinity): Promise<boolean> {
    if (holds() || signal?.aborted) {
      return Promise.resolve(holds() && !signal?.aborted);
    }
    return new Promise((resolve) => {
      const finish = (): void => {
        this.#listeners.delete(listener);
        clearTimeout(timer);
        undo?.();
        resolve(holds() && !signal?.aborted);
      };
      const listener = (): void => {
        if (holds()) {
          finish();
        }
      };
      const undo = signal && onAbort(signal, finish);
      const timer = within === Infinity ? undefined : setTimeout(finish, Math.min(within, maxTimeout));
      this.#listeners.add(listener);
    });
  }
}
