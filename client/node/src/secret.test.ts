import assert from "node:assert/strict";
import { test } from "node:test";
import { format, inspect } from "node:util";

import { Secret } from "./secret.js";

test("a secret shows only when it is revealed", () => {
  const secret = new Secret("vs_secret_1");
  const link = { url: secret };
  const shown = [
    String(secret),
    `${secret}`,
    "" + (secret as unknown as string),
    JSON.stringify(link),
    inspect(secret),
    inspect(link, { depth: 9, showHidden: true }),
    format("%s %o %O %j %d", secret, secret, secret, secret, secret),
    JSON.stringify(Object.entries(secret)),
    JSON.stringify({ ...secret }),
    JSON.stringify(structuredClone(link)),
  ];
  for (const text of shown) {
    assert.doesNotMatch(text, /vs_secret_1/);
  }
  assert.deepEqual(shown.slice(0, 5), ["[redacted]", "[redacted]", "[redacted]", '{"url":"[redacted]"}', "[redacted]"]);
  assert.equal(secret.reveal(), "vs_secret_1");
});
