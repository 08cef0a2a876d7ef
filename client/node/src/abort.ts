/** Linked is an AbortController that also aborts with a parent. */
export interface Linked {
  readonly signal: AbortSignal;
  /** Aborts with this reason. The first reason stays. */
  abort(reason: unknown): void;
  /** Stops following the parents. Call it in the end: otherwise a parent that lives long keeps this controller alive. */
  unlink(): void;
}

/** Returns a controller that aborts with the reason of the first parent that aborts. Unset parents never abort. */
export function link(...parents: readonly (AbortSignal | undefined)[]): Linked {
  const controller = new AbortController();
  const undo: (() => void)[] = [];
  for (const parent of parents) {
    if (parent === undefined) {
      continue;
    }
    if (parent.aborted) {
      controller.abort(parent.reason);
      break;
    }
    undo.push(onAbort(parent, () => controller.abort(parent.reason)));
  }
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    unlink: () => {
      for (const f of undo) {
        f();
      }
    },
  };
}

/** The functions of onAbort. A signal has one listener of this package: Node warns of more than ten. */
const functions = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls a function when a signal aborts, or at once if it has aborted, and returns a function that undoes this. Undo it in the end: Node
 * keeps a signal of `AbortSignal.any` or `AbortSignal.timeout` alive while it has a listener.
 */
export function onAbort(signal: AbortSignal, f: () => void): () => void {
  if (signal.aborted) {
    f();
    return () => {};
  }
  const set = functions.get(signal) ?? listen(signal);
  const call = (): void => f(); // so that the same function can be there twice
  set.add(call);
  return () => {
    if (set.delete(call) && set.size === 0) {
      signal.removeEventListener("abort", callAll);
      functions.delete(signal);
    }
  };
}

function listen(signal: AbortSignal): Set<() => void> {
  const set = new Set<() => void>();
  functions.set(signal, set);
  signal.addEventListener("abort", callAll, { once: true });
  return set;
}

/** callAll is the listener of each signal. */
function callAll(this: AbortSignal): void {
  const set = functions.get(this);
  functions.delete(this);
  for (const f of set ?? []) {
    f();
  }
}

/** Waits for some milliseconds. It resolves to false, and at once, if the signal has aborted or aborts. */
export function sleep(signal: AbortSignal, milliseconds: number): Promise<boolean> {
  if (signal.aborted) {
    return Promise.resolve(false);
  }
  return new Promise((resolve) => {
    const undo = onAbort(signal, () => {
      clearTimeout(timer);
      resolve(false);
    });
    const timer = setTimeout(() => {
      undo();
      resolve(true);
    }, milliseconds);
  });
}

/** Returns a promise that also rejects, with the signal's reason, when the signal aborts. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => {}); // nobody waits for it: an unhandled rejection would end the process
    throw signal.reason;
  }
  return new Promise<T>((resolve, reject) => {
    const undo = onAbort(signal, () => reject(signal.reason as Error));
    promise.then(resolve, reject).finally(undo);
  });
}
