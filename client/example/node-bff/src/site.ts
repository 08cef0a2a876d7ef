import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Client } from "@verification-status/client";
import { eventStreams, send, type Viewer } from "@verification-status/client/sse";
import { addressOf } from "./address.js";
import { Files, redirect, reply } from "./files.js";
import { guard } from "./guard.js";
import { Links } from "./links.js";
import { log, logger } from "./log.js";
import { People, referenceOf } from "./people.js";
import { newServer, stopServer } from "./server.js";
import type { Settings } from "./settings.js";
import { Stripe } from "./stripe.js";

/** Exchange is a request for a stream, as the package takes it, with what belongs to it. */
interface Exchange {
  method: string;
  headers: IncomingMessage["headers"];
  request: IncomingMessage;
  response: ServerResponse;
}

/** Site serves the page and the requests of the page. It keeps no data: the cookie identifies the person. */
export class Site {
  /** The server, which does not listen yet. */
  readonly server: Server;
  readonly #settings: Settings;
  readonly #people: People;
  readonly #links: Links;
  readonly #files = new Files();
  readonly #stopping = new AbortController();
  readonly #events;

  constructor(client: Client, settings: Settings) {
    this.#settings = settings;
    this.#people = new People(settings.cookieKey, this.#secure);
    this.#links = new Links(client, new Stripe(settings.stripe), `${settings.publicURL.origin}/`);
    this.#events = eventStreams({ client, logger, signal: this.#stopping.signal, authorize: (exchange: Exchange) => this.#authorize(exchange) });
    this.server = newServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        log("ERROR", "a request failed", { path: request.url, error });
        if (response.headersSent) response.destroy();
        else reply(response, 500, "internal error");
      });
    });
  }

  /** stop ends the streams at once and waits for all other requests. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await stopServer(this.server);
  }

  get #secure(): boolean {
    return this.#settings.publicURL.protocol === "https:";
  }

  /** The routes are: the page with its files, the live status, the link to Stripe, and signing out. */
  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!guard(request, response, this.#settings.publicURL)) return;
    const [path = "/"] = (request.url ?? "/").split("?"); // as text: "//" is no URL, and "//x/link" is no /link
    const allowed = path === "/link" || path === "/sign-out" ? ["POST"] : ["GET", "HEAD"];
    if (!allowed.includes(request.method ?? "")) {
      response.setHeader("Allow", allowed.join(", "));
      return reply(response, 405, "405 method not allowed");
    }
    switch (path) {
      case "/": return this.#page(request, response);
      case "/events": return this.#stream(request, response);
      case "/link": return this.#link(request, response);
      case "/sign-out": return this.#signOut(request, response);
      default: return this.#files.send(response, path);
    }
  }

  #page(request: IncomingMessage, response: ServerResponse): void {
    if (!this.#people.find(request)) this.#people.signIn(response);
    this.#files.send(response, "/index.html");
  }

  #stream(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", headers } = request;
    return send(this.#events({ method, headers, request, response }), response);
  }

  /** #authorize returns the signed-in person as the viewer. A person without a session has no subject, and costs no watch. */
  #authorize({ request, response }: Exchange): Viewer | "not_signed_in" {
    const person = this.#people.find(request);
    if (!person) return "not_signed_in";
    const user = referenceOf(person), address = this.#addressOf(request);
    const viewer = { user, address, session: this.#people.session(response, person) };
    return person.begun ? { ...viewer, subject: { reference: user } } : viewer;
  }

  #addressOf(request: IncomingMessage): string {
    return addressOf(request, this.#settings.addressHeader, this.#secure);
  }

  /** #link answers with a link to Stripe's page. The link goes into this answer only. */
  async #link(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const person = this.#people.find(request);
    if (!person) return reply(response, 401, { problem: "SIGNED_OUT" });
    const { status, body, person: linked, wait } = await this.#links.answer(person, this.#addressOf(request));
    if (linked) this.#people.renew(response, linked); // with "begun", for 30 more days
    if (wait !== undefined) response.setHeader("Retry-After", Math.ceil(wait / 1000));
    reply(response, status, body);
  }

  #signOut(request: IncomingMessage, response: ServerResponse): void {
    this.#people.signOut(response, this.#people.find(request));
    redirect(response, 303, "/");
  }
}
