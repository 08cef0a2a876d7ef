import {
  DeadlineExceededError, NotFoundError, RetryDenial, RetryDeniedError, StripeNotConfiguredError, StripeRefusedError,
  StripeSessionUnknownError, UnavailableError, VerificationError, type Client,
} from "@verification-status/client";
import { BusyError, Limits } from "./limits.js";
import { log } from "./log.js";
import { isNew, justBegan, referenceOf, type Person } from "./people.js";
import { linkTimeout } from "./server.js";
import { StripeError, type Stripe } from "./stripe.js";

/** Answer is the answer to POST /link: an HTTP status, and JSON for the page. */
export interface Answer {
  status: number;
  /** The problem is a RetryDenial, "ALREADY_VERIFIED", "SIGNED_OUT", "REFUSED", "BUSY" or "UNAVAILABLE". */
  body: { url: string } | { problem: string };
  /** With a link: the person, who has begun by now. */
  person?: Person;
  /** With BUSY: the time until another press can succeed, in milliseconds. */
  wait?: number;
}

/**
 * statusTimeout bounds the question for the status of a person, in milliseconds. Without a connection the call waits for one until
 * its timeout, and a person can begin without the service.
 */
export const statusTimeout = 5_000;

/** Links finds the link to Stripe's page for a person: for a first attempt, to continue, or to try again. */
export class Links {
  readonly #client: Client;
  readonly #stripe: Stripe;
  readonly #returnUrl: string;
  readonly #limits = new Limits();
  /** The answers that are under way, by the content of the cookie. */
  readonly #underWay = new Map<string, Promise<Answer>>();

  constructor(client: Client, stripe: Stripe, returnUrl: string) {
    this.#client = client;
    this.#stripe = stripe;
    this.#returnUrl = returnUrl;
  }

  /**
   * answer returns what to answer a person that pressed the button, at an address. Presses at the same time, with the same cookie,
   * share one answer: a thousand of them cost the service as much as one, and count as one for the limits. The work continues if
   * the browser of the first one has gone.
   */
  answer(person: Person, address: string): Promise<Answer> {
    const key = [person.id, person.issued, person.begun].join(".");
    const underWay = this.#underWay.get(key);
    if (underWay) return underWay;
    const answer = this.#answer(person, address, AbortSignal.timeout(linkTimeout)).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, answer);
    return answer;
  }

  /** #answer logs an unexpected error. The client secret stays here, because the page does not use Stripe.js. */
  async #answer(person: Person, address: string, signal: AbortSignal): Promise<Answer> {
    try {
      this.#limits.press(person.id, address, isNew(person));
      return await this.#find(person, signal);
    } catch (error) {
      const wait = waitOf(error);
      if (wait !== undefined) return { ...problem(429, "BUSY"), wait }; // not logged: an attacker would fill the log
      if (error instanceof RetryDeniedError) return problem(409, RetryDenial[error.denial] ?? "UNAVAILABLE");
      log("ERROR", "cannot create a link for a person", { reference: referenceOf(person), error });
      return isLasting(error) ? problem(409, "REFUSED") : problem(503, "UNAVAILABLE");
    }
  }

  /**
   * Only a person that has no session gets a new one. For all others verification-status decides: it counts the attempts, and
   * replaces a session that was canceled. Nobody that is verified gets a link, whichever of their sessions is the newest: the
   * summary of the person costs the service one more read of its store, and only a press of the button asks for it.
   *
   * The service is not asked about a person with a new cookie: there is no session, and the service would use one of its reads of
   * Stripe to find that out. It is asked for an older cookie, even one without "begun": otherwise a copy of it would be a new first
   * attempt each day.
   *
   * People can begin even while verification-status cannot be reached, or has no reads of Stripe left for today. A person that has
   * just begun then gets the same session again.
   */
  async #find(person: Person, signal: AbortSignal): Promise<Answer> {
    if (isNew(person)) return this.#begin(person, signal);
    let sessionId: string;
    try {
      const found = await this.#client.person(referenceOf(person), { signal, timeout: statusTimeout });
      if (found.person.verified) return problem(409, "ALREADY_VERIFIED");
      sessionId = found.verification.sessionId;
    } catch (error) {
      const mayBegin = error instanceof NotFoundError || (isUnavailable(error) && (person.begun === 0 || justBegan(person)));
      if (signal.aborted || !mayBegin) throw error;
      return this.#begin(person, signal);
    }
    const link = await this.#client.retry(sessionId, { replaceClosed: true, returnUrl: this.#returnUrl, signal });
    return { status: 200, body: { url: link.url.reveal() }, person };
  }

  /** #begin creates the person's session, or returns the link of the one that was just created. */
  async #begin(person: Person, signal: AbortSignal): Promise<Answer> {
    this.#limits.begin();
    const begun = justBegan(person) ? person.begun : Date.now();
    const url = await this.#stripe.create(referenceOf(person), this.#returnUrl, signal);
    return { status: 200, body: { url }, person: { ...person, begun } };
  }
}

function problem(status: number, name: string): Answer {
  return { status, body: { problem: name } };
}

/** waitOf returns the wait of an error that is a limit of this site or of the service, in milliseconds. */
function waitOf(error: unknown): number | undefined {
  if (error instanceof BusyError) return error.wait;
  return error instanceof VerificationError && error.reason === "RATE_LIMITED" ? error.retryAfter : undefined;
}

/** isUnavailable returns whether verification-status cannot be reached or does not answer in time. */
function isUnavailable(error: unknown): boolean {
  return error instanceof UnavailableError || error instanceof DeadlineExceededError;
}

/** isLasting returns whether another try would get the same error. */
function isLasting(error: unknown): boolean {
  const lasting = [StripeRefusedError, StripeSessionUnknownError, StripeNotConfiguredError];
  return !(error instanceof StripeError) && lasting.some((kind) => error instanceof kind);
}
