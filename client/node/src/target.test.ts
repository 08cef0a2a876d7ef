import assert from "node:assert/strict";
import { test } from "node:test";

import { parseTarget } from "./target.js";

for (const [target, want] of [
  ["127.0.0.1:50051", ["ipv4:127.0.0.1:50051 127.0.0.1:50051  local"]],
  ["10.1.2.3", ["ipv4:10.1.2.3:443 10.1.2.3  remote"]],
  ["[::1]:50051", ["ipv6:[::1]:50051 [::1]:50051  local"]],
  ["ipv4:127.0.0.1:1,10.0.0.2:2", ["ipv4:127.0.0.1:1 127.0.0.1:1  local", "ipv4:10.0.0.2:2 10.0.0.2:2  remote"]],
  ["ipv6:[fd00::1]:7", ["ipv6:[fd00::1]:7 [fd00::1]:7  remote"]],
  ["unix:/run/s.sock", ["unix:/run/s.sock localhost localhost local"]],
  ["unix:///run/s.sock", ["unix:/run/s.sock localhost localhost local"]],
  ["dns:///127.0.0.2:9", ["ipv4:127.0.0.2:9 127.0.0.2:9  local"]],
] as const) {
  test(`${target} needs no resolution`, () => {
    const endpoints = parseTarget(target).fixed ?? [];
    assert.deepEqual(
      endpoints.map((e) => `${e.target} ${e.authority} ${e.serverName} ${e.local ? "local" : "remote"}`),
      want,
    );
  });
}

test("a name is resolved, and stays the name of the certificate", async () => {
  for (const target of ["localhost:7", "dns:localhost:7", "dns:///localhost:7"]) {
    const parsed = parseTarget(target);
    assert.equal(parsed.fixed, undefined);
    const endpoints = await parsed.resolve();
    assert.ok(endpoints.length > 0);
    for (const endpoint of endpoints) {
      assert.deepEqual([endpoint.authority, endpoint.serverName, endpoint.local], ["localhost:7", "localhost", true]);
    }
  }
});

for (const target of [
  "",
  "host:",
  "host:0",
  "host:65536",
  "host:x",
  "http://host:1",
  "a b:1",
  "ipv4:host:1",
  "ipv6:10.0.0.1:1",
  "dns://8.8.8.8/host:1",
]) {
  test(`${JSON.stringify(target)} is no target`, () => {
    assert.throws(() => parseTarget(target), TypeError);
  });
}
