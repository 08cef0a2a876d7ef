/** StripeError says that Stripe created no session. */
export class StripeError extends Error {
  override readonly name = "StripeError";
}

/** Milliseconds. */
const stripeTimeout = 20_000;

/** Bytes. */
const maxAnswer = 256 << 10;

interface Created {
  link?: string;
  /** Why there is no link. */
  problem?: string;
  /** The answer is a repeated 500. */
  repeated?: boolean;
}

/** Stripe makes the one call of Stripe's API that the site needs. Yours can use Stripe's library. */
export class Stripe {
  readonly #base: string;
  readonly #key: string;

  constructor({ base, key }: { base: string; key: string }) {
    this.#base = base;
    this.#key = key;
  }

  /**
   * create creates a verification session for a person, and returns the link to Stripe's page for it. The link works once, and
   * Stripe takes the person that opens it for this one. It throws a StripeError if there is no link after 20 seconds.
   *
   * The reference alone is the idempotency key. So a repetition within 24 hours makes no second session: a double click, a retry
   * after a lost answer, or a request with an old copy of the cookie.
   *
   * Stripe also repeats a 500 for its key. Only then create uses a second key; otherwise the person could not begin for a day.
   * Source: Stripe's API reference, "Idempotent requests".
   */
  async create(reference: string, returnURL: string, signal: AbortSignal): Promise<string> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(stripeTimeout)]);
    let created = await this.#post(reference, reference, returnURL, limit);
    if (created.repeated) created = await this.#post(`${reference}-2`, reference, returnURL, limit);
    if (!created.link) throw new StripeError(`Stripe did not create a session: ${created.problem}`);
    return created.link;
  }

  async #post(key: string, reference: string, returnURL: string, signal: AbortSignal): Promise<Created> {
    try {
      const response = await fetch(`${this.#base}/v1/identity/verification_sessions`, {
        method: "POST",
        headers: { Authorization: `Basic ${btoa(`${this.#key}:`)}`, "Idempotency-Key": key },
        body: new URLSearchParams({ type: "document", client_reference_id: reference, return_url: returnURL }),
        redirect: "manual", // fetch would send the key to another port of the same host
        signal,
      });
      const repeated = response.status >= 500 && response.headers.get("Idempotent-Replayed") === "true";
      const { url, error } = parse(await read(response));
      if (response.status === 200 && typeof url === "string" && url) return { link: url };
      return { repeated, problem: `${response.status} ${error?.message ?? "without a link"}` };
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : (error as Error);
      return { problem: cause.message };
    }
  }
}

function parse(text: string): { url?: unknown; error?: { message?: unknown } | null } {
  try {
    return Object(JSON.parse(text)) as object;
  } catch {
    return { error: { message: "and the answer is not JSON" } };
  }
}

/** read returns the body of an answer. It throws an Error if the body is longer than maxAnswer. */
async function read(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    if ((length += part.length) > maxAnswer) throw new Error(`${response.status}, and the answer has more than ${maxAnswer} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}
