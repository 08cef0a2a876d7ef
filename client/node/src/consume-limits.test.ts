import assert from "node:assert/strict";
import { test } from "node:test";

import { connectTo, rejection, startServer } from "./help.rig.js";

test("maxHeld is a whole number of at most 1,000,000", async (t) => {
  const client = connectTo(t, (await startServer(t, {})).target);
  const over = AbortSignal.abort(); // what is not refused ends at once
  for (const maxHeld of [Infinity, NaN, 1.5, 1_000_001, Number.MAX_SAFE_INTEGER]) {
    const refused = await rejection(client.consume("mailer", () => {}, { maxHeld, signal: over }));
    assert.ok(refused instanceof TypeError, `maxHeld ${maxHeld}: ${refused}`);
    assert.match(refused.message, /maxHeld/);
  }
  await client.consume("mailer", () => {}, { maxHeld: 1_000_000, signal: over });
});
