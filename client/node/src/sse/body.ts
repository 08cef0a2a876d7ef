import { onAbort } from "../abort.js";

/**
 * Returns texts as the body of a response. It asks for the next text only when the reader asks for more, so that nothing is buffered for
 * a reader that is slower than the texts.
 *
 * The signal that texts gets aborts when the reader leaves, when one of the signals aborts, or when the reader has not asked for more
 * within the timeout (in milliseconds) after a text. In the last case, and if texts throws, the body fails: the connection must be cut.
 */
export function bodyOf(
  texts: (gone: AbortSignal) => AsyncGenerator<string, void, void>,
  signals: readonly AbortSignal[],
  timeout: number,
): ReadableStream<Uint8Array> {
  const gone = new AbortController();
  const encoder = new TextEncoder();
  const source = texts(gone.signal);
  let late: NodeJS.Timeout | undefined;
  let unlink: (() => void)[] = [];

  /** Ends the texts. It resolves when they have ended. */
  const finish = async (): Promise<void> => {
    clearTimeout(late);
    for (const undo of unlink.splice(0)) undo();
    gone.abort();
    await source.return();
  };

  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const end = (): void => void finish().then(() => close(controller));
        if (signals.some((signal) => signal.aborted)) end();
        else unlink = signals.map((signal) => onAbort(signal, end));
      },
      async pull(controller) {
        clearTimeout(late);
        const { value, done } = await source.next().catch(async (error: unknown) => {
          await finish();
          throw error; // the body fails with it
        });
        if (done) {
          await finish();
          close(controller);
          return;
        }
        if (gone.signal.aborted) return; // what ended the texts closes the body
        controller.enqueue(encoder.encode(value));
        late = setTimeout(() => {
          void finish();
          controller.error(new Error(`the browser has read nothing for ${timeout} ms`));
        }, timeout);
      },
      cancel: finish,
    },
    { highWaterMark: 0 },
  );
}

/** Closes a body, unless it is closed already. */
function close(controller: ReadableStreamDefaultController<Uint8Array>): void {
  try {
    controller.close();
  } catch {
    // Another event has closed it, or it has failed.
  }
}
