// For the tests of the site: the site itself, a fake verification-status, and a fake Stripe that records its requests.
import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, createServer, request as send, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import type { Client, Update } from "@verification-status/client";
import { FakeServer } from "@verification-status/client/testing";
import { People, type Person } from "./people.js";
import { readSettings } from "./settings.js";
import { Site } from "./site.js";

const cookieKey = "0123456789abcdef0123456789abcdef";

/** listen starts a server on a free port, until the test ends, and returns its address. */
export async function listen(t: TestContext, server: Server): Promise<string> {
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Created is a request for a session at Stripe. */
export interface Created {
  key: string;
  form: URLSearchParams;
}

/** FakeStripe answers each creation with the same link. */
export class FakeStripe {
  readonly created: Created[] = [];
  /** It answers with an error. */
  refuse = false;
  /** Each answer waits for it. */
  hold: Promise<unknown> = Promise.resolve();
  #asked = () => {};
  /** It is resolved when the first session is asked for. */
  readonly asked = new Promise<void>((resolve) => { this.#asked = resolve; });

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body: Buffer[] = [];
    for await (const part of request) body.push(part as Buffer);
    assert.equal(`${request.method} ${request.url}`, "POST /v1/identity/verification_sessions");
    assert.equal(request.headers.authorization, `Basic ${btoa("sk_test_1:")}`);
    if (this.refuse) return void response.writeHead(400).end('{"error":{"message":"Identity is not enabled"}}');
    this.created.push({ key: String(request.headers["idempotency-key"]), form: new URLSearchParams(Buffer.concat(body).toString()) });
    this.#asked();
    await this.hold;
    response.end('{"id":"vs_1","url":"https://verify.stripe.test/start/1","client_secret":"vs_1_secret_x"}');
  }
}

/** Rig is the site with all that it needs. It ends with the test. */
export class Rig {
  /** The watches that the site has made. */
  watches = 0;

  private constructor(readonly backend: FakeServer, readonly stripe: FakeStripe, readonly site: Site, readonly url: string) {}

  static async start(t: TestContext): Promise<Rig> {
    const backend = await FakeServer.start(), stripe = new FakeStripe();
    t.after(() => backend.close());
    const base = await listen(t, createServer((request, response) => void stripe.serve(request, response)));
    const port = await freePort();
    const client = backend.client(), watch = client.watch.bind(client);
    client.watch = (...subject: Parameters<Client["watch"]>) => {
      rig.watches++;
      return watch(...subject) as AsyncIterable<Update>;
    };
    const site = new Site(client, readSettings({
      BFF_ADDR: `127.0.0.1:${port}`, BFF_ADDRESS_HEADER: "X-Address", BFF_COOKIE_KEY: cookieKey,
      STRIPE_API_BASE: base, STRIPE_API_KEY: "sk_test_1",
    }));
    await once(site.server.listen(port, "127.0.0.1"), "listening");
    t.after(() => {
      site.server.closeAllConnections();
      return site.stop();
    });
    const rig = new Rig(backend, stripe, site, `http://127.0.0.1:${port}`);
    return rig;
  }

  visitor(): Visitor {
    return new Visitor(this.url);
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}

/** Reply is an answer with its whole body. */
export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

/** Visitor is a browser with a cookie of its own. */
export class Visitor {
  cookie = "";
  /** A browser keeps its connections for minutes. */
  readonly #agent = new Agent({ keepAlive: true });
  readonly #people = new People(cookieKey, false);

  constructor(readonly url: string) {}

  /** ask sends a request and returns the answer. It waits for at most 20 seconds. */
  async ask(method: string, path: string, headers: Record<string, string> = {}): Promise<Reply> {
    const known = { Cookie: this.cookie, "X-Address": "192.0.2.1" }; // 127.0.0.1 says nothing about a browser
    const options = { method, headers: { ...known, ...headers }, agent: this.#agent, signal: AbortSignal.timeout(20_000) };
    const request = send(this.url + path, options);
    const [response] = (await once(request.end(), "response")) as [IncomingMessage];
    const body: Buffer[] = [];
    for await (const part of response) body.push(part as Buffer);
    const [cookie] = response.headers["set-cookie"] ?? [];
    if (cookie) this.cookie = cookie.split(";")[0] ?? "";
    return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(body).toString() };
  }

  /** wantLink presses the page's button. */
  async wantLink(status: number, want: object): Promise<void> {
    const reply = await this.ask("POST", "/link", { "Sec-Fetch-Site": "same-origin" });
    assert.deepEqual([reply.status, JSON.parse(reply.body)], [status, want]);
    assert.doesNotMatch(reply.body, /secret/);
    assert.equal(reply.headers["cache-control"], "no-store");
  }

  /** changeCookie gives the browser another cookie of its person. */
  changeCookie(change: Partial<Person>): Person {
    const [, id = "", issued = 0, begun = 0] = /^person=(\w+)\.(\d+)\.(\d+)/.exec(this.cookie) ?? assert.fail("the browser is nobody");
    const person = { id, issued: Number(issued) * 1000, begun: Number(begun) * 1000, ...change };
    this.cookie = `person=${this.#people.cookie(person)}`;
    return person;
  }
}
