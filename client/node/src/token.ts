import { UnauthenticatedError, UnavailableError } from "./errors.js";
import type { Credentials } from "./credentials.js";
import type { TokenSource } from "./options.js";

/** Tokens return the value of the header "authorization" for each call. */
export class Tokens {
  readonly #source: string | TokenSource | undefined;
  readonly #credentials: Credentials;

  constructor(source: string | TokenSource | undefined, credentials: Credentials) {
    this.#source = source;
    this.#credentials = credentials;
  }

  /**
   * Returns the header for a call with a token of its own, or undefined for a call without one. It throws an UnauthenticatedError
   * for a token that must not be sent, and an UnavailableError if the source throws. No error quotes a token.
   */
  async header(own: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    if (own !== undefined) {
      if (this.#source === undefined && this.#credentials.plaintext) {
        throw refused("the token of the call is not sent in plain text: remove the option plaintext");
      }
      return bearer(own);
    }
    if (this.#source === undefined) {
      return undefined;
    }
    return bearer(typeof this.#source === "string" ? this.#source : await this.#ask(this.#source, signal));
  }

  async #ask(source: TokenSource, signal: AbortSignal): Promise<string> {
    try {
      return await source(signal);
    } catch (error) {
      signal.throwIfAborted();
      const text = error instanceof Error ? error.message : String(error);
      throw new UnavailableError({ code: "UNAVAILABLE", message: `the source of bearer tokens failed: ${text}`, cause: error });
    }
  }
}

function bearer(token: string): string {
  const trimmed = token.trim();
  if (!/^[!-~]+$/.test(trimmed)) {
    throw refused("the token of the call is empty, or has characters that no token has");
  }
  return `Bearer ${trimmed}`;
}

function refused(message: string): UnauthenticatedError {
  return new UnauthenticatedError({ code: "UNAUTHENTICATED", message });
}
