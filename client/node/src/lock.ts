import { onAbort } from "./abort.js";

/** Lock is held by one caller at a time, in the order of their calls. */
export class Lock {
  #isHeld = false;
  readonly #waiting = new Set<() => void>();

  /** Resolves to the function that releases the lock. It rejects with the signal's reason if the signal aborts first. */
  async acquire(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#isHeld) {
      await this.#turn(signal);
    }
    this.#isHeld = true;
    return () => this.#release();
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const mine = (): void => {
        undo();
        resolve();
      };
      const undo = onAbort(signal, () => {
        this.#waiting.delete(mine);
        reject(signal.reason as Error);
      });
      this.#waiting.add(mine);
    });
  }

  /** Passes the lock on to the caller that waits longest. It stays held meanwhile. */
  #release(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#isHeld = false;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
