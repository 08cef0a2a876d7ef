import { link } from "./abort.js";
import type { Linked } from "./abort.js";

/** The reason of a signal whose loop was left. */
const left = new Error("the loop was left");

/**
 * Returns an iterable. Each loop over it runs a generator with a signal that aborts with the parents, and when the loop is left.
 * Unlike that of a generator, return does not wait for a pending next: it ends it. So a program that iterates by hand can stop at
 * any moment.
 */
export function iterable<T>(
  parents: readonly (AbortSignal | undefined)[],
  run: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>,
): AsyncIterable<T> {
  return { [Symbol.asyncIterator]: () => new Loop(parents, run) };
}

/** Loop is one loop. It begins with the first next. */
class Loop<T> implements AsyncIterator<T, undefined> {
  readonly #parents: readonly (AbortSignal | undefined)[];
  readonly #run: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>;
  #ending: Linked | undefined;
  #steps: AsyncGenerator<T, void, undefined> | undefined;
  #isOver = false;

  constructor(parents: readonly (AbortSignal | undefined)[], run: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>) {
    this.#parents = parents;
    this.#run = run;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#isOver) {
      return { done: true, value: undefined };
    }
    try {
      this.#ending ??= link(...this.#parents);
      this.#steps ??= this.#run(this.#ending.signal);
      const step = await this.#steps.next();
      if (step.done !== true) {
        return step;
      }
    } catch (error) {
      if (error !== left) {
        this.#end();
        throw error;
      }
    }
    this.#end();
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.#ending?.abort(left);
    this.#end();
    await this.#steps?.return();
    return { done: true, value: undefined };
  }

  #end(): void {
    this.#isOver = true;
    this.#ending?.unlink();
  }
}
