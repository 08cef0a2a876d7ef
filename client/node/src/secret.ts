import { inspect } from "node:util";

const redacted = "[redacted]";

/**
 * Secret is a text that shows as `[redacted]` when it is printed, logged, inspected or encoded as JSON. Anybody that has a
 * person's link is that person to Stripe.
 */
export class Secret {
  readonly #text: string;

  /** Keeps a text. An empty text is a secret that the service did not send. */
  constructor(text: string) {
    this.#text = text;
  }

  /** Returns the text. Use it in the one response to the person. */
  reveal(): string {
    return this.#text;
  }

  /** Returns `[redacted]`. */
  toString(): string {
    return redacted;
  }

  /** Returns `[redacted]`. `JSON.stringify` calls it. */
  toJSON(): string {
    return redacted;
  }

  /** Returns `[redacted]`. `util.inspect` and `console.log` call it. */
  [inspect.custom](): string {
    return redacted;
  }
}
