import assert from "node:assert/strict";
import type { TestContext } from "node:test";

import { connect } from "./connect.js";
import type { Client } from "./client.js";
import type { ConnectOptions } from "./options.js";
import { type Behaviour, Server } from "./server.rig.js";
import type { ChannelOptions } from "@grpc/grpc-js";

/** The longest wait of a test for something that must happen, in milliseconds. */
const patience = 10_000;

/** Fast are the options of a client whose waits are short. */
export const fast: ConnectOptions = { plaintext: true, backoff: { base: 5, max: 20 } };

/** Starts a server that stops with the test. */
export async function startServer(
  t: TestContext,
  behaviour: Behaviour,
  settings: { port?: number; options?: ChannelOptions } = {},
): Promise<Server> {
  const server = await Server.start(behaviour, settings);
  t.after(() => server.stop());
  return server;
}

/** Returns a client that closes with the test. */
export function connectTo(t: TestContext, target: string | readonly string[], options: ConnectOptions = fast): Client {
  const client = connect(target, options);
  t.after(() => client.close());
  return client;
}

/** Waits for a promise, not longer than patience. */
export async function within<T>(what: string, promise: Promise<T>, milliseconds = patience): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new assert.AssertionError({ message: `${what}: nothing within ${milliseconds} ms` })),
      milliseconds,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until a condition holds, not longer than patience. */
export async function eventually(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + patience;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `${what}: not within ${patience} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Returns the error with which a promise rejects. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await within("a rejection", promise);
  } catch (error) {
    return error;
  }
  assert.fail("it did not reject");
}

/** Reads the first updates of an iterable, and leaves the loop. */
export async function take<T>(count: number, iterable: AsyncIterable<T>): Promise<T[]> {
  const taken: T[] = [];
  const read = async (): Promise<void> => {
    for await (const item of iterable) {
      taken.push(item);
      if (taken.length === count) {
        return;
      }
    }
  };
  await within(`${count} items`, read());
  return taken;
}
