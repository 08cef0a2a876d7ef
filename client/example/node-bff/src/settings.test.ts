import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isLoopback, readSettings } from "./settings.js";

const key = "0123456789abcdef0123456789abcdef";

test("the settings alone start the site, with the defaults of the Go example", () => {
  const s = readSettings({ VERIFICATION_STATUS: "dns:///status:1" });
  assert.deepEqual([s.host, s.port, s.publicURL.origin, s.target], ["127.0.0.1", 8080, "http://127.0.0.1:8080", "dns:///status:1"]);
  assert.deepEqual(s.stripe, { base: "http://127.0.0.1:12111", key: "sk_test_simulated" });
  assert.ok(s.generatedKey && s.cookieKey.length >= 32);
  assert.notEqual(readSettings({}).cookieKey, s.cookieKey);
});

test("an address at which a secret would be sent in plain text is refused", () => {
  for (const [variable, value, problem] of [
    ["STRIPE_API_BASE", "https://api.stripe.com", ""],
    ["STRIPE_API_BASE", "http://api.stripe.com", "STRIPE_API_BASE http://api.stripe.com: use https://"],
    ["STRIPE_API_BASE", "ftp://127.0.0.1", "use https://"],
    ["BFF_ADDR", "127.0.0.1:1", ""],
    ["BFF_ADDR", "[::1]:1", ""],
    ["BFF_ADDR", "10.0.0.1:80", "PUBLIC_URL http://10.0.0.1:80: use https://"],
    ["BFF_ADDR", "8080", "a host and a port"],
    ["PUBLIC_URL", "https://a.example/page", "a scheme and a host only"],
    ["PUBLIC_URL", "https://a.example?x", "a scheme and a host only"],
    ["PUBLIC_URL", "https://user@a.example", "a scheme and a host only"],
    ["PUBLIC_URL", "a.example", "a scheme and a host only"],
    ["PUBLIC_URL", "http://127.0.0.1.example.com", "use https://"],
  ] as const) {
    const read = () => readSettings({ [variable]: value });
    if (problem) assert.throws(read, (error: Error) => error.message.includes(problem), `${variable} ${value}`);
    else read();
  }
});

test("secrets come from a variable or a file, never both, and are long enough", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "settings-")), file = join(dir, "key");
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(file, `${key}\n`);
  const s = readSettings({ BFF_COOKIE_KEY_FILE: file });
  assert.equal(s.cookieKey, key);
  assert.equal(s.generatedKey, false);
  for (const [problem, env] of [
    ["has 5 char", { BFF_COOKIE_KEY: "short" }],
    ["both set", { BFF_COOKIE_KEY: key, BFF_COOKIE_KEY_FILE: file }],
    ["ENOENT", { BFF_COOKIE_KEY_FILE: `${file}x` }],
    ["STRIPE_API_KEY", { STRIPE_API_KEY: "sk_test_1", STRIPE_API_KEY_FILE: file }],
  ] as const) {
    assert.throws(() => readSettings(env), (error: Error) => error.message.includes(problem) && !error.message.includes(key), problem);
  }
  assert.throws(() => readSettings({ BFF_COOKIE_KEY: "short", BFF_ADDR: "x" }), /BFF_ADDR[^]*BFF_COOKIE_KEY/, "all problems at once");
});

test("loopback is this machine only", () => {
  for (const host of ["localhost", "localhost:1", "127.0.0.1", "127.9.9.9:80", "[::1]:80", "::1"]) assert.ok(isLoopback(host), host);
  for (const host of ["", "a.example:1", "10.0.0.1:1", "127.0.0.1.example:1", "[::2]:1", "localhost.example"]) assert.ok(!isLoopback(host), host);
});
