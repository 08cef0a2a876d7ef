import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { connect } from "../index.js";
import {
  ErrorCode,
  Redaction,
  ResolutionKind,
  RetryDenial,
  Status,
  VerificationType,
} from "../gen/verification/v1/verification_pb.js";
import { startReference } from "../testing/reference.rig.js";
import type { Reference } from "../testing/reference.rig.js";
import { eventStreams, send } from "./index.js";
import { byQuery } from "./site.rig.js";

const { REQUIRES_INPUT, PROCESSING, VERIFIED } = Status;

/** Pair is the Go bridge and this one in front of one fake service. */
class Pair {
  readonly service: Reference;
  readonly #t: TestContext;
  readonly #addresses: readonly [string, string];

  private constructor(t: TestContext, service: Reference, address: string) {
    this.#t = t;
    this.service = service;
    this.#addresses = [service.bridge, address];
  }

  /** Starts both, or skips the test without Go. */
  static async start(t: TestContext): Promise<Pair | undefined> {
    const service = await startReference(t);
    if (service === undefined) return undefined;
    const client = connect(service.target, { plaintext: true, backoff: { base: 2, max: 50 } });
    t.after(() => client.close());
    const logger = { info: () => {}, warn: () => {}, error: () => {} };
    const events = eventStreams<IncomingMessage>({ client, authorize: byQuery, maxStreams: 2, logger });
    const web = createServer((request, response) => send(events(request), response)).listen(0, "127.0.0.1");
    t.after(() => web.close().closeAllConnections());
    await new Promise((resolve) => web.once("listening", resolve));
    return new Pair(t, service, `http://127.0.0.1:${(web.address() as AddressInfo).port}/`);
  }

  /** Makes a request to both. */
  async open(query: string, lastEventId = "", method = "GET"): Promise<PairStream> {
    const headers: Record<string, string> = lastEventId === "" ? {} : { "last-event-id": lastEventId };
    const cancel = new AbortController();
    this.#t.after(() => cancel.abort());
    const signal = AbortSignal.any([cancel.signal, AbortSignal.timeout(60_000)]);
    const responses = await Promise.all(this.#addresses.map((address) => fetch(address + query, { headers, method, signal })));
    const [want, got] = responses.map((response) => ({ status: response.status, headers: relevant(response.headers) }));
    assert.deepEqual(got, want, `${method} ${query}`);
    return new PairStream(query, responses.map(blocksOf), cancel);
  }
}

/** PairStream is a stream of both. */
class PairStream {
  readonly #name: string;
  readonly #blocks: readonly AsyncGenerator<string, string, void>[];
  readonly #cancel: AbortController;
  lastEventId = "";

  constructor(name: string, blocks: readonly AsyncGenerator<string, string, void>[], cancel: AbortController) {
    this.#name = name;
    this.#blocks = blocks;
    this.#cancel = cancel;
  }

  /** Compares the next block, byte by byte, and checks that it has this text. */
  async same(text: string): Promise<void> {
    const [want, got] = await Promise.all(this.#blocks.map(async (blocks) => alike((await blocks.next()).value)));
    assert.equal(got, want, this.#name);
    assert(want?.includes(text), `${this.#name}: ${want}; want ${text} in it`);
    this.lastEventId = /^id: (.*)$/m.exec(want ?? "")?.[1] ?? this.lastEventId;
  }

  /** Reads both up to a block with a text, over blocks that repeat by the clock, and compares that block. */
  async until(text: string): Promise<void> {
    const [want, got] = await Promise.all(
      this.#blocks.map(async (blocks) => {
        for await (const block of { [Symbol.asyncIterator]: () => ({ next: () => blocks.next() }) }) {
          if (block.includes(text)) return alike(block);
          assert(block.includes("event: stale"), `${this.#name}: ${block}; want ${text}`);
        }
        return "the end";
      }),
    );
    assert.equal(got, want, this.#name);
    assert.notEqual(want, "the end", `${this.#name}: ended before ${text}`);
  }

  /** Compares the last bytes: the stream ends. */
  async end(): Promise<void> {
    const [want, got] = await Promise.all(this.#blocks.map((blocks) => blocks.next()));
    assert.deepEqual(got, want, this.#name);
    assert.equal(want?.done, true, `${this.#name}: it goes on with ${want?.value}`);
  }

  close(): void {
    this.#cancel.abort();
  }
}

/** Yields the blocks of a stream, and returns what is behind the last one. */
async function* blocksOf(response: Response): AsyncGenerator<string, string, void> {
  let rest = "";
  for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop() ?? "";
    yield* blocks;
  }
  return rest;
}

function relevant(headers: Headers): Record<string, string> {
  const transport = ["date", "connection", "keep-alive", "transfer-encoding", "content-length"];
  return Object.fromEntries([...headers].filter(([name]) => !transport.includes(name)));
}

/**
 * Takes out what differs by nature: the random part of waits, and space in JSON, which Go's protobuf adds at random so that nobody
 * depends on its bytes. The order of the fields and the bytes of all texts and numbers stay.
 */
function alike(block: string): string {
  const waits = block.replace(/^retry: (\d+)$/m, (_, wait: string) => {
    const base = [500, 2_000, 5_000, 30_000].find((each) => Number(wait) >= each && Number(wait) < 2 * each);
    return `retry: ${base} and more`;
  });
  return waits.replace(/(?<=\ndata: )[^\n]*/, (data) => data.replace(/("(?:[^"\\]|\\.)*")|\s+/g, "$1"));
}

test("sends a browser what the Go bridge sends", async (t) => {
  const p = await Pair.start(t);
  if (p === undefined) return;
  const { service } = p;
  const unknown = await p.open("?user=a&session=vs_1");
  for (const text of ["retry: 2000", "event: unknown", "event: live"]) await unknown.same(text);
  await unknown.end();
  const nothing = await p.open("?user=a");
  for (const text of ["retry: 2000", "event: unknown", "event: live"]) await nothing.same(text);
  await nothing.end();
  for (const [query, method] of [
    ["", "GET"],
    ["?forbidden", "GET"],
    ["?user=a", "POST"],
  ] as const) {
    await (await p.open(query, "", method)).end();
  }
  const fault = await p.open("?fault");
  await fault.same("retry: 2000");
  await fault.end();

  await service.set({ sessionId: "vs_1", status: REQUIRES_INPUT });
  const stream = await p.open("?user=a&session=vs_1");
  for (const text of ["retry: 2000", "event: status", "event: live"]) await stream.same(text);
  const states: Parameters<Reference["set"]>[0][] = [
    ...Object.values(ErrorCode)
      .filter((code) => typeof code === "number")
      .map((code) => ({ status: REQUIRES_INPUT, lastError: { code } })),
    { status: REQUIRES_INPUT, lastError: { reason: 'Ünï "\\/<>&\u2028\u007f\u0001\n\r\t\b\f 😀 a  b' } },
    { status: 77 as Status, type: 78 as VerificationType, updateTime: { seconds: 1_800_000_000n, nanos: 1 } },
    { status: PROCESSING, type: VerificationType.DOCUMENT, updateTime: { seconds: 1_800_000_001n, nanos: 120_000_000 } },
    { status: PROCESSING, type: VerificationType.ID_NUMBER, updateTime: { seconds: 1_800_000_002n, nanos: 123_456_000 } },
    {
      status: REQUIRES_INPUT,
      retry: { retriesRemaining: 1, denial: RetryDenial.COOLDOWN, nextRetryTime: { seconds: -1n }, overrideOpen: true },
    },
    { status: REQUIRES_INPUT, retry: {}, clientReferenceId: "person", account: "acct_1", livemode: true, replaces: "vs_0" },
    { status: REQUIRES_INPUT, resolution: { kind: ResolutionKind.DECLINED, principal: "token:desk", time: { seconds: 1n } } },
    { status: VERIFIED, lastVerificationReport: "vr_1", supersededBy: "vs_2", redaction: Redaction.REDACTED },
  ];
  for (const state of states) {
    await service.set({ ...(state as object), sessionId: "vs_1" });
    await stream.same("event: status");
    await stream.same("event: live");
  }
  await service.run({ do: "heartbeat" });
  await stream.same("event: live");
  await service.run({ do: "cutStreams", reason: "STREAM_EXPIRED" });
  await stream.same("event: stale");
  await service.set({ sessionId: "vs_1", status: PROCESSING });
  for (const text of ["event: status", "event: live"]) await stream.same(text);
  stream.close();

  await service.set({ sessionId: "vs_1", status: VERIFIED });
  const resumed = await p.open("?user=a&session=vs_1", stream.lastEventId);
  for (const text of ["retry: 2000", "event: status", "event: live"]) await resumed.same(text);
  resumed.close();
  await service.run({ do: "expireTokens" });
  for (const [name, id] of Object.entries({
    "an expired token": resumed.lastEventId,
    nonsense: "nonsense",
    space: "a b",
    long: "x".repeat(2049),
  })) {
    t.diagnostic(name);
    const reset = await p.open(`?user=${name}&session=vs_1`, id);
    for (const text of ["retry: 2000", "event: reset", "event: status", "event: live"]) await reset.same(text);
    reset.close();
  }
});

test("ends and loses streams as the Go bridge does", async (t) => {
  const p = await Pair.start(t);
  if (p === undefined) return;
  const { service } = p;
  await service.set({ sessionId: "vs_1", status: REQUIRES_INPUT, clientReferenceId: "person" });
  const begin = async (user: string): Promise<PairStream> => {
    const stream = await p.open(`?user=${user}&reference=person`);
    for (const text of ["retry: 2000", "event: status", "event: live"]) await stream.same(text);
    return stream;
  };
  const [first, second] = [await begin("a"), await begin("a")];
  await begin("a");
  await first.same("event: busy");
  await first.end();
  second.close();
  for (const reason of ["PERMISSION_DENIED", "SESSION_NOT_FOUND"] as const) {
    const open = await begin(reason);
    await service.run({ do: "cutStreams", reason });
    await open.same(reason === "PERMISSION_DENIED" ? "event: stale" : "event: unknown");
    if (reason === "SESSION_NOT_FOUND") await open.same("event: live");
    await open.end();
  }
  const lasting = await begin("b");
  await service.run({ do: "stop" });
  await lasting.same("event: stale");
  const late = await p.open("?user=c&reference=person");
  await late.same("retry: 2000");
  await late.same("event: stale");
  await service.set({ sessionId: "vs_1", status: VERIFIED });
  await service.run({ do: "start" });
  await lasting.until("event: status");
  await lasting.same("event: live");
  await late.until("event: status");
  await late.same("event: live");
});
