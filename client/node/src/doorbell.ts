/** Doorbell wakes one function that waits. If nothing waits, the next wait ends at once. */
export class Doorbell {
  #rung = false;
  #wake: (() => void) | undefined;

  /** Ends the wait. It can be passed as a callback. */
  readonly ring = (): void => {
    this.#rung = true;
    this.#wake?.();
  };

  /** Waits for a ring since the last wait. One function at a time can wait. */
  async wait(): Promise<void> {
    if (!this.#rung) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#rung = false;
    this.#wake = undefined;
  }
}
