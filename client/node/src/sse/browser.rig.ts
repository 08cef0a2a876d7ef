import assert from "node:assert/strict";
import type { TestContext } from "node:test";

/** Dispatched is an event that the page sees. */
export interface Dispatched {
  readonly name: string;
  readonly data: string;
}

/** How long a request of a test can take, in milliseconds. */
const limit = 30_000;

/** Browser is an EventSource as HTML defines it. It reconnects when the test says so. */
export class Browser {
  readonly #url: string;
  #cancel = new AbortController();
  #lines: AsyncGenerator<string, void, void> | undefined;
  lastEventId = "";
  /** The wait before a reconnect in milliseconds, as the last stream said. */
  retry = 0;
  /** "live" events so far. */
  lives = 0;
  response = new Response();

  constructor(t: TestContext, url: string) {
    this.#url = url;
    t.after(() => this.close());
  }

  /** Makes a request, with Last-Event-ID if there was one. It ends the stream of before. */
  async connect(): Promise<void> {
    this.close();
    this.#cancel = new AbortController();
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (this.lastEventId !== "") headers["last-event-id"] = this.lastEventId;
    const signal = AbortSignal.any([this.#cancel.signal, AbortSignal.timeout(limit)]);
    this.response = await fetch(this.#url, { headers, signal });
    this.#lines = linesOf(this.response);
  }

  close(): void {
    this.#cancel.abort();
  }

  /** Returns the next event that is not "live"; undefined at the end of the stream. */
  async next(): Promise<Dispatched | undefined> {
    for (;;) {
      const event = await this.nextOfAll();
      if (event?.name !== "live") return event;
    }
  }

  /** Returns the next event; undefined at the end of the stream. */
  async nextOfAll(): Promise<Dispatched | undefined> {
    let name = "";
    let id = this.lastEventId;
    const data: string[] = [];
    for (;;) {
      const line = (await this.#lines?.next())?.value;
      if (line === undefined) return undefined;
      if (line === "") {
        this.lastEventId = id;
        if (name === "live") this.lives++;
        if (data.length > 0) return { name, data: data.join("\n") };
        name = "";
        continue;
      }
      const [, field = "", value = ""] = /^([^:]*): ?(.*)$/.exec(line) ?? [];
      if (field === "event") name = value;
      else if (field === "data") data.push(value);
      else if (field === "id") id = value;
      else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
      else assert.fail(`line ${JSON.stringify(line)}`);
    }
  }

  /** Reads the next event, and checks its name and that its data has each of these texts. */
  async want(name: string, ...texts: string[]): Promise<void> {
    const event = await this.next();
    assert.equal(event?.name, name);
    for (const text of texts) assert(event?.data.includes(text), `${name} has data ${event?.data}; want ${text} in it`);
  }

  /** Reads the next event and checks that it is "live". */
  async wantLive(): Promise<void> {
    assert.equal((await this.nextOfAll())?.name, "live");
  }

  /** Reads up to the next event that is not "stale". It checks its name, and that none was "live". */
  async wantNotStale(name: string): Promise<void> {
    const { lives } = this;
    let event = await this.next();
    while (event?.name === "stale") event = await this.next();
    assert.equal(event?.name, name);
    assert.equal(this.lives, lives, `live before ${name}`);
  }

  /** Checks that the stream ends without another event than "live". */
  async wantEnd(): Promise<void> {
    assert.equal(await this.next(), undefined);
  }

  /** Checks that the browser waits from least to less than most milliseconds before it reconnects. */
  wantRetry(least: number, most: number): void {
    assert(this.retry >= least && this.retry < most, `retry ${this.retry}; want ${least} to ${most}`);
  }
}

async function* linesOf(response: Response): AsyncGenerator<string, void, void> {
  let rest = "";
  for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  assert.equal(rest, "", "the stream ended in the middle of a line");
}
