import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { eventually } from "./help.rig.js";
import { Resolver } from "./resolver.js";
import { type Endpoint, parseTarget, type Target } from "./target.js";

function endpoint(address: string): Endpoint {
  return { target: `ipv4:${address}`, authority: "name:1", serverName: "name", local: false };
}

/** A name whose addresses a test decides. Without any, it cannot be resolved. */
class Name implements Target {
  readonly fixed = undefined;
  addresses: string[];
  resolutions = 0;

  constructor(...addresses: string[]) {
    this.addresses = addresses;
  }

  resolve(): Promise<Endpoint[]> {
    this.resolutions++;
    if (this.addresses.length === 0) {
      return Promise.reject(new Error("ENOTFOUND"));
    }
    return Promise.resolve(this.addresses.map(endpoint));
  }
}

/** Starts a resolver and returns what it finds. */
function start(
  t: TestContext,
  targets: readonly Target[],
  interval: number,
): { resolver: Resolver; found: string[]; failed: string[] } {
  const found: string[] = [];
  const failed: string[] = [];
  const resolver = new Resolver(
    targets,
    (endpoints) => found.push(endpoints.map(({ target }) => target.replace("ipv4:", "")).join(" ")),
    (error) => failed.push(error.message),
    interval,
  );
  t.after(() => resolver.close());
  resolver.start();
  return { resolver, found, failed };
}

test("addresses are found at once", (t) => {
  const { resolver, found } = start(t, [parseTarget("10.0.0.1:1"), parseTarget("ipv4:10.0.0.2:2")], 0);
  assert.deepEqual(found, ["10.0.0.1:1 10.0.0.2:2"]);
  resolver.resolveSoon();
  assert.equal(found.length, 1);
});

test("a name is resolved again when a connection was lost, and not too often", async (t) => {
  const name = new Name("10.0.0.1:1", "10.0.0.2:1");
  const begun = performance.now();
  const { resolver, found } = start(t, [name], 200);
  await eventually("the first resolution", () => found.length === 1);
  name.addresses = ["10.0.0.3:1"];
  for (let i = 0; i < 10; i++) {
    resolver.resolveSoon();
  }
  await eventually("the second resolution", () => found.length === 2);
  assert.ok(performance.now() - begun >= 200, "not before the interval is over");
  assert.deepEqual([found, name.resolutions], [["10.0.0.1:1 10.0.0.2:1", "10.0.0.3:1"], 2]);
});

test("a name that cannot be resolved is tried again", async (t) => {
  const name = new Name();
  const { found, failed } = start(t, [name], 0);
  await eventually("the failure", () => failed.length === 1);
  name.addresses = ["10.0.0.1:1"];
  await eventually("the resolution", () => found.length === 1);
  assert.match(failed[0] ?? "", /cannot be resolved: ENOTFOUND/);
});

test("a name that fails keeps its earlier addresses, beside those of other names", async (t) => {
  const [a, b] = [new Name("10.0.0.1:1"), new Name("10.0.0.2:1")];
  const { resolver, found, failed } = start(t, [a, b], 0);
  await eventually("the first resolution", () => found.length === 1);
  a.addresses = [];
  b.addresses = ["10.0.0.3:1"];
  resolver.resolveSoon();
  await eventually("the second resolution", () => found.length > 1);
  assert.deepEqual([found[1], failed], ["10.0.0.1:1 10.0.0.3:1", []]);
});
