import type { Bookmark, Update } from "./update.js";

/** Change is one received change, or with a checkpoint also a bookmark. */
export interface Change {
  /** Unset once it is handled: a change behind an unfinished one needs its token only. */
  update: Update | Bookmark | undefined;
  readonly token: string;
  readonly key: string;
  /** Aborts if the change is dropped. */
  readonly epoch: AbortSignal;
  /** Rises as received. */
  readonly number: number;
  /** By the handler; a checkpoint can still fail. */
  handled: boolean;
  done: boolean;
}

/** Queue has the changes of one session that are not handled. A worker works on the first one. */
export interface Queue {
  readonly name: string;
  changes: Change[];
  isBusy: boolean;
  /** The wait until the next try. */
  wait: NodeJS.Timeout | undefined;
  /** Of the first change, in a row. */
  failures: number;
}

/** Queues have the changes by session. None of them is empty. */
export class Queues {
  readonly #queues = new Map<string, Queue>();

  /** Adds a change at the end of the queue with this name. */
  add(name: string, change: Change): void {
    const queue = this.#queues.get(name) ?? { name, changes: [], isBusy: false, wait: undefined, failures: 0 };
    this.#queues.set(name, queue);
    queue.changes.push(change);
  }

  /** Returns the queue that a worker can take, with the change that was received first, or undefined. */
  next(): { queue: Queue; change: Change } | undefined {
    let first: { queue: Queue; change: Change } | undefined;
    for (const queue of this.#queues.values()) {
      const change = queue.changes[0];
      if (!queue.isBusy && queue.wait === undefined && change && (first === undefined || change.number < first.change.number)) {
        first = { queue, change };
      }
    }
    return first;
  }

  /** Removes the first change of a queue. */
  shift(queue: Queue): void {
    queue.changes.shift();
    queue.failures = 0;
    if (queue.changes.length === 0) {
      this.#queues.delete(queue.name);
    }
  }

  /** Removes all changes but those that a worker is at: each stays until its handler returns. */
  clear(): void {
    this.endWaits();
    for (const [name, queue] of this.#queues) {
      if (queue.isBusy) {
        queue.changes.length = 1;
      } else {
        this.#queues.delete(name);
      }
    }
  }

  /** Ends all waits for a next try. */
  endWaits(): void {
    for (const queue of this.#queues.values()) {
      clearTimeout(queue.wait);
      queue.wait = undefined;
    }
  }
}
