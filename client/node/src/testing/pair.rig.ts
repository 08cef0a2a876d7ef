import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { inspect, isDeepStrictEqual } from "node:util";

import { toJson } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, JsonValue, MessageInitShape } from "@bufbuild/protobuf";

import * as feed from "../gen/verification/v1/feed_pb.js";
import * as v1 from "../gen/verification/v1/verification_pb.js";
import { FakeServer } from "./fake.js";
import { fault } from "./fault.js";
import { startReference } from "./reference.rig.js";
import type { Command, Reference } from "./reference.rig.js";
import { Wire } from "./wire.rig.js";
import type { Answer, WireStream } from "./wire.rig.js";

export const { getStatus, listVerifications, retryVerification, watchStatus } = v1.VerificationService.method;

/** How long a server can take to notice the end of a stream, in milliseconds. */
const patience = 30_000;

export type State = Extract<MessageInitShape<typeof v1.VerificationSchema>, { $typeName?: never }>;
export type WatchRequest = MessageInitShape<typeof v1.WatchStatusRequestSchema>;
export type ListFilter = MessageInitShape<typeof v1.ListVerificationsRequestSchema>["filter"];

/** Pair is a FakeServer and the Go fake with the same sessions. The service's own tests compare the Go fake with the service. */
export class Pair {
  readonly #reference: Reference;
  readonly #fake: FakeServer;
  readonly #wires: readonly [Wire, Wire];

  private constructor(reference: Reference, fake: FakeServer, wires: readonly [Wire, Wire]) {
    this.#reference = reference;
    this.#fake = fake;
    this.#wires = wires;
  }

  /** Starts both, or skips the test without Go. */
  static async start(t: TestContext): Promise<Pair | undefined> {
    const reference = await startReference(t);
    if (reference === undefined) return undefined;
    const fake = await FakeServer.start();
    t.after(() => fake.close());
    return new Pair(reference, fake, [new Wire(t, reference.target), new Wire(t, fake.target)]);
  }

  /** Sets a state in both, and compares what they return. */
  async set(v: State): Promise<void> {
    const [want, got] = [await this.#reference.set(v), this.#fake.set(v)].map((each) => toJson(v1.VerificationSchema, each));
    assert.deepEqual(got, want, `set ${inspect(v)}`);
  }

  /** Runs a command of both. */
  async run(command: Command): Promise<void> {
    await this.#reference.run(command);
    const { session = "", consumer = "", on = false } = command;
    const error = command.reason && fault(command.reason);
    const methods: Record<string, () => void> = {
      setInDoubt: () => this.#fake.setInDoubt(session, on),
      setOutputs: () => this.#fake.setOutputs(session, command.outputs ?? {}),
      fail: () => this.#fake.fail(error),
      failNext: () => error && this.#fake.failNext(error),
      cutStreams: () => this.#fake.cutStreams(error),
      expireTokens: () => this.#fake.expireTokens(),
      heartbeat: () => this.#fake.heartbeat(),
      silence: () => this.#fake.silence(on),
      expireConsumer: () => this.#fake.expireConsumer(consumer),
      deleteConsumer: () => this.#fake.deleteConsumer(consumer),
      holdConsumer: () => this.#fake.holdConsumer(consumer, on),
      nameCallers: () => this.#fake.nameCallers((headers) => headers["x-caller"] ?? ""),
    };
    const method = methods[command.do];
    assert(method, command.do);
    method();
  }

  /** Makes a call of both, and fails if the answers differ. It returns the answer. */
  async same<I extends DescMessage>(
    name: string,
    method: DescMethod & { input: I },
    init: MessageInitShape<I>,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const [want, got] = await Promise.all(this.#wires.map(async (wire) => alike(await wire.call(method, init, headers))));
    assert.deepEqual(got, want, `${name}: FakeServer answers differently`);
    return want as Answer;
  }

  /** Opens a watch of both. */
  open(init: WatchRequest): PairStream {
    return new PairStream(this.#wires.map((wire) => wire.open(watchStatus, init)));
  }

  /** Opens a watch of both, compares so many responses, and closes it. It returns the last token. */
  async watch(name: string, responses: number, init: WatchRequest): Promise<string> {
    const stream = this.open(init);
    const token = await stream.same(name, responses);
    stream.close();
    return token;
  }

  /** Compares all that can be asked about a session. */
  async everything(id: string): Promise<void> {
    const subject = { case: "sessionId", value: id } as const;
    await this.same(`${id}: history`, getStatus, { subject, includeHistory: true });
    await this.watch(`${id}: snapshot`, 1, { subject });
    await this.watch(`${id}: until settled`, 1, { subject, untilSettled: true });
  }

  /** Asks for a retry in both ways. */
  async retries(name: string, sessionId: string): Promise<void> {
    for (const replaceClosed of [false, true]) {
      await this.same(`${name}: retry`, retryVerification, { sessionId, replaceClosed, returnUrl: "https://shop.example/back" });
    }
  }

  /** Compares a list, in pages of a size. */
  async pages(filter: NonNullable<ListFilter>, pageSize: number): Promise<void> {
    let tokens = ["", ""];
    for (let page = 0; page < 100; page++) {
      const requests = tokens.map((pageToken) => ({ filter, pageSize, pageToken }));
      const answers = await Promise.all(this.#wires.map((wire, i) => wire.call(listVerifications, requests[i] ?? {})));
      tokens = answers.map(nextPage);
      const [want, got] = answers.map(withoutTokens);
      assert.deepEqual(got, want, `list ${inspect(filter)}: FakeServer answers differently`);
      assert.equal(tokens[1] === "", tokens[0] === "", `list ${inspect(filter)}: the last page`);
      if (tokens[0] === "") return;
    }
    assert.fail("the list does not end");
  }

  /** Compares the consumers, when no other ones than these are active in either: a server notices the end of a stream a bit later. */
  async consumers(name: string, ...active: string[]): Promise<void> {
    const list = feed.FeedService.method.listConsumers;
    const deadline = Date.now() + patience;
    for (const wire of this.#wires) {
      let found: unknown;
      do {
        const [response] = (await wire.call(list, {})).responses as { consumers?: { name: string; active?: boolean }[] }[];
        found = response?.consumers?.filter((each) => each.active).map((each) => each.name) ?? [];
        assert(Date.now() < deadline, `${name}: active are ${inspect(found)}`);
      } while (!isDeepStrictEqual(found, active));
    }
    await this.same(name, list, {});
  }
}

interface Page {
  verifications?: JsonValue;
  nextPageToken?: string;
}

function nextPage(answer: Answer): string {
  return (answer.responses[0] as Page | undefined)?.nextPageToken ?? "";
}

/** Takes out the tokens of a list, which each fake makes in its own way. */
function withoutTokens(answer: Answer): Answer {
  const { code, details, responses } = alike(answer);
  return { code, details, responses: responses.map((page) => (page as Page).verifications ?? []) };
}

interface Response {
  resumeToken?: string;
  verification?: { sessionId: string };
}

/** PairStream is a watch of both. */
export class PairStream {
  readonly #streams: readonly WireStream[];
  #last: Response | undefined;

  constructor(streams: readonly WireStream[]) {
    this.#streams = streams;
  }

  /** Compares what comes next. It returns the last token. */
  async same(name: string, responses: number): Promise<string> {
    return (await this.#next(name, responses))?.resumeToken ?? "";
  }

  /** Compares what comes up to a change of a session. */
  async until(name: string, sessionId: string): Promise<void> {
    for (;;) {
      const response = await this.#next(name, 1);
      assert(response?.resumeToken !== undefined, `${name}: ended before a change of ${sessionId}`);
      if (response.verification?.sessionId === sessionId) return;
    }
  }

  /** The session of the last response. */
  get session(): string {
    return this.#last?.verification?.sessionId ?? "";
  }

  async #next(name: string, responses: number): Promise<Response | undefined> {
    const [want, got] = await Promise.all(this.#streams.map(async (stream) => alike(await stream.read(responses))));
    assert.deepEqual(got, want, `${name}: FakeServer sends something else`);
    this.#last = want?.responses.at(-1) as Response | undefined;
    return this.#last;
  }

  close(): void {
    for (const stream of this.#streams) stream.close();
  }
}

/** Takes out the times of this machine's clock. Both fakes begin their own clock at the same time. */
function alike(answer: Answer): Answer {
  const replace = (value: JsonValue): JsonValue => {
    if (Array.isArray(value)) return value.map(replace);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => {
        const now =
          key === "lag" || (/^(time|recordTime|acknowledgeTime)$/.test(key) && !String(each).startsWith("2026-01-01T00:"));
        return [key, now ? "now" : replace(each)];
      }),
    );
  };
  return { ...answer, responses: answer.responses.map(replace) };
}
