import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";

/** Person is the content of a cookie. */
export interface Person {
  /** 130 random bits in base32. */
  readonly id: string;
  /** When the cookie was issued. Milliseconds since 1970, as in Date.now(). */
  readonly issued: number;
  /** When the person got their first link. 0: they had none when the cookie was issued. */
  readonly begun: number;
}

/** signedInFor is the lifetime of a cookie, in milliseconds. Then the browser drops it, and the site refuses a copy of it. */
export const signedInFor = 30 * 24 * 60 * 60_000;

/**
 * sameSession is the time after a creation, in milliseconds, in which a repetition is a double click or follows a lost answer.
 * Stripe keeps an idempotency key for at least 24 hours.
 */
export const sameSession = 10 * 60_000;

/** cookieValue matches the person's id, the Unix second of "issued", the one of "begun", and a signature of the three. */
const cookieValue = /^([A-Z2-7]{26})\.([1-9][0-9]{0,11})\.(0|[1-9][0-9]{0,11})\.([A-Za-z0-9_-]{43})$/;

/**
 * People identifies the person of a request. It stands for the real sign-in of your site: a browser without a valid cookie becomes
 * a new person. Two rules matter in a real one too: the cookie alone decides whose status is shown, never the page or its
 * address; and only a cookie that this site has issued is valid.
 *
 * The cookies are those of the Go example: with the same key, each program accepts the other's.
 */
export class People {
  readonly #key: string;
  readonly #secure: boolean;
  /** The open streams, by reference. */
  readonly #streams = new Map<string, Set<AbortController>>();

  /** The key signs the cookies; secure says that the site is served with TLS. */
  constructor(key: string, secure: boolean) {
    this.#key = key;
    this.#secure = secure;
  }

  /**
   * With TLS the name has the prefix by which browsers refuse a cookie that another host of the domain, or a page without TLS,
   * tries to set. An attacker that sets their own cookie in another person's browser would get that person's document into the
   * attacker's verification.
   */
  get cookieName(): string {
    return this.#secure ? "__Host-person" : "person";
  }

  /**
   * find returns the person of a request, or undefined without a valid cookie of this site. If a request has two cookies with the
   * name, somebody else has set one of them, and it is unknown which.
   */
  find(request: IncomingMessage): Person | undefined {
    const named = (request.headers.cookie ?? "").split(";").map((each) => each.trim()).filter((each) => each.startsWith(`${this.cookieName}=`));
    const [, id, issued, begun, signature] = cookieValue.exec(named[0]?.slice(this.cookieName.length + 1) ?? "") ?? [];
    if (named.length !== 1 || !id || !issued || !begun || !signature) return undefined;
    if (!timingSafeEqual(Buffer.from(signature), Buffer.from(this.#sign(id, issued, begun)))) return undefined;
    const person = { id, issued: Number(issued) * 1000, begun: Number(begun) * 1000 };
    return Date.now() - person.issued < signedInFor ? person : undefined;
  }

  /** signIn issues a cookie for a new person. */
  signIn(response: ServerResponse): void {
    this.renew(response, { id: newID(), begun: 0 });
  }

  /** renew issues a new cookie for the person, for 30 days. */
  renew(response: ServerResponse, person: Omit<Person, "issued">): void {
    this.#setCookie(response, this.cookie({ ...person, issued: Date.now() }), signedInFor / 1000);
  }

  /** cookie returns the value of the cookie of a person. */
  cookie({ id, issued, begun }: Person): string {
    const seconds = [issued, begun].map((time) => String(Math.floor(time / 1000))) as [string, string];
    return [id, ...seconds, this.#sign(id, ...seconds)].join(".");
  }

  /** signOut deletes the cookie and ends all streams of the person, also in other tabs. */
  signOut(response: ServerResponse, person: Person | undefined): void {
    this.#setCookie(response, "", 0);
    for (const stream of (person && this.#streams.get(referenceOf(person))) ?? []) stream.abort();
  }

  /** session returns a signal that is aborted when the person signs out. The response is the stream that it is for. */
  session(response: ServerResponse, person: Person): AbortSignal {
    const reference = referenceOf(person), stream = new AbortController();
    const streams = this.#streams.get(reference) ?? new Set();
    this.#streams.set(reference, streams.add(stream));
    response.once("close", () => {
      streams.delete(stream);
      if (streams.size === 0 && this.#streams.get(reference) === streams) this.#streams.delete(reference);
    });
    return stream.signal;
  }

  /** The signature is an HMAC-SHA256. It includes the cookie's name, so that a value of the site without TLS is invalid with TLS. */
  #sign(id: string, issued: string, begun: string): string {
    return createHmac("sha256", this.#key).update(`${this.cookieName}=${id}.${issued}.${begun}`).digest("base64url");
  }

  #setCookie(response: ServerResponse, value: string, maxAge: number): void {
    // Not Strict: the return from Stripe's page is a link from another site, and must have the cookie.
    const attributes = `Path=/; Max-Age=${maxAge}; HttpOnly; ${this.#secure ? "Secure; " : ""}SameSite=Lax`;
    response.setHeader("Set-Cookie", `${this.cookieName}=${value}; ${attributes}`);
  }
}

/** newID returns 26 characters of base32: 130 random bits. */
function newID(): string {
  return Array.from(randomBytes(26), (byte) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[byte & 31]).join("");
}

/**
 * referenceOf returns the client_reference_id of the person. It is a hash, because a reader of Stripe's Dashboard or of a log must
 * not learn the id in the cookie.
 */
export function referenceOf(person: Person): string {
  return `web-${createHash("sha256").update(person.id).digest("hex").slice(0, 32)}`;
}

/** justBegan returns whether another click on the button can be a double click, or follow a lost answer. */
export function justBegan(person: Person): boolean {
  return Date.now() - person.begun < sameSession;
}

/**
 * isNew returns whether the person certainly has no session yet. An older cookie without "begun" can be a copy from before the
 * person began.
 */
export function isNew(person: Person): boolean {
  return person.begun === 0 && Date.now() - person.issued < sameSession;
}
