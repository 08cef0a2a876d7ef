import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { bodyOf } from "./body.js";

/** Returns a body whose next text the test gives, and what has become of its source. */
function made(...signals: AbortSignal[]) {
  let give = (_: string): void => {};
  const state = { asked: 0, ended: false };
  const body = bodyOf(
    async function* (gone) {
      try {
        for (;;) {
          state.asked++;
          const text = await new Promise<string>((resolve) => {
            give = resolve;
            gone.addEventListener("abort", () => resolve(""));
          });
          if (gone.aborted) return;
          yield text;
        }
      } finally {
        state.ended = true;
      }
    },
    signals,
    10_000,
  );
  return { reader: body.getReader(), state, give: (text: string) => give(text) };
}

const settle = (): Promise<void> => new Promise(setImmediate);

test("waits for a text for ever, and for the reader for a while", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { reader, state, give } = made();
  await settle();
  assert.equal(state.asked, 0, "asked for a text that nobody reads");
  for (const text of ["one", "two"]) {
    const read = reader.read();
    await settle();
    t.mock.timers.tick(100_000); // nothing is sent for longer than a browser can read nothing
    give(text);
    assert.equal(Buffer.from((await read).value ?? []).toString(), text);
    t.mock.timers.tick(9_999);
    await settle();
  }
  assert.equal(state.asked, 2, "asked for a text that nobody reads");
  t.mock.timers.tick(1);
  await settle();
  assert(state.ended, "the source continues");
  await assert.rejects(reader.read(), /the browser has read nothing for 10000 ms/);
});

test("ends with a signal, a reader that leaves and its source", async () => {
  const signals = [new AbortController(), new AbortController()] as const;
  const bySignal = made(signals[0].signal, signals[1].signal);
  const read = bySignal.reader.read();
  await settle();
  signals[1].abort();
  assert.equal((await read).done, true);
  const paused = made(signals[0].signal);
  const first = paused.reader.read();
  await settle();
  paused.give("one");
  await first;
  signals[0].abort(); // while nobody reads
  assert.equal((await paused.reader.read()).done, true);
  const left = made();
  void left.reader.read();
  await settle();
  await left.reader.cancel();
  for (const [name, { state }] of Object.entries({ bySignal, paused, left })) assert(state.ended, `${name}: the source continues`);
  assert.equal((await made(signals[0].signal).reader.read()).done, true, "the signal has aborted before");
});

test("fails with its source, and leaves nothing at the signals", async () => {
  const signal = new AbortController();
  let ended = false;
  const body = bodyOf(
    async function* (gone) {
      gone.addEventListener("abort", () => (ended = true));
      yield "one";
      throw new Error("the source has failed");
    },
    [signal.signal],
    10_000,
  );
  const reader = body.getReader();
  await reader.read();
  await assert.rejects(reader.read(), /^Error: the source has failed$/);
  assert(ended, "what the source began continues");
  assert.deepEqual(getEventListeners(signal.signal, "abort"), []);
});
