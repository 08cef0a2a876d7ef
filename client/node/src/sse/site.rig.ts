import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

import { Status } from "../gen/verification/v1/verification_pb.js";
import { FakeServer } from "../testing/index.js";
import type { FakeServerOptions } from "../testing/index.js";
import { Bridge } from "./bridge.js";
import { Browser } from "./browser.rig.js";
import { defaultTimes } from "./options.js";
import type { Authorized, EventStreamsOptions, Times } from "./options.js";
import { send } from "./send.js";

/** SiteOptions change a site. */
export interface SiteOptions extends Partial<Omit<EventStreamsOptions<IncomingMessage>, "client">> {
  readonly times?: Partial<Times>;
  readonly fake?: FakeServerOptions;
}

/** Site is a web program behind Node's http with one user, that can watch vs_1, and the fake service behind it. */
export class Site {
  readonly backend: FakeServer;
  readonly bridge: Bridge<IncomingMessage>;
  readonly web: Server;
  /** What was logged: level and text. */
  readonly logged: string[] = [];
  /** The answers under way. */
  readonly #sending = new Set<Promise<void>>();
  readonly #t: TestContext;

  private constructor(t: TestContext, backend: FakeServer, options: SiteOptions) {
    this.#t = t;
    this.backend = backend;
    const { times, fake: _, ...rest } = options;
    const log = (level: string) => (text: string, details?: object) =>
      void this.logged.push(`${level} ${text} ${describe(details)}`);
    this.bridge = new Bridge<IncomingMessage>(
      {
        client: backend.client(),
        authorize: () => ({ user: "ada", subject: { session: "vs_1" } }),
        logger: { info: log("INFO"), warn: log("WARN"), error: log("ERROR") },
        ...rest,
      },
      { ...defaultTimes, ...times },
    );
    this.web = createServer((request, response) => {
      const sent = send(this.bridge.handle(request), response).finally(() => this.#sending.delete(sent));
      this.#sending.add(sent);
    });
  }

  /** Starts a site, which ends with the test. No stream and no watch is left then. */
  static async start(t: TestContext, options: SiteOptions = {}): Promise<Site> {
    const backend = await FakeServer.start(options.fake);
    const site = new Site(t, backend, options);
    site.web.listen(0, "127.0.0.1");
    await new Promise((resolve) => site.web.once("listening", resolve));
    t.after(async () => {
      await site.close();
      assert.equal(site.bridge.slots.size, 0, "streams that hold a slot");
      await backend.close();
    });
    return site;
  }

  /** Cuts all browsers and waits for the end of their streams. */
  async close(): Promise<void> {
    this.web.close();
    this.web.closeAllConnections();
    await Promise.all(this.#sending);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.web.address() as AddressInfo).port}/`;
  }

  /** Returns a browser that has made its first request. query is behind the address. */
  async browser(query = ""): Promise<Browser> {
    const browser = new Browser(this.#t, this.url + query);
    await browser.connect();
    return browser;
  }

  set(status: Status): void {
    this.backend.set({ sessionId: "vs_1", status });
  }
}

/** Takes user, address and subject from the query. A real program never does that. */
export function byQuery(request: IncomingMessage): Authorized {
  const query = new URL(request.url ?? "", "http://site").searchParams;
  const user = query.get("user") ?? "";
  const [session, reference] = [query.get("session"), query.get("reference")];
  const subject = session !== null ? { session } : reference !== null ? { reference } : undefined;
  if (query.has("fault")) throw new Error("the database is unavailable");
  if (query.has("forbidden")) return "forbidden";
  return user === "" ? "not_signed_in" : { user, address: query.get("address") ?? "", subject };
}

function describe(details: object | undefined): string {
  const { error, sessionId = "" } = (details ?? {}) as { error?: { reason?: string; message?: string }; sessionId?: string };
  return error === undefined ? "" : `${sessionId} ${error.reason} ${error.message}`;
}
