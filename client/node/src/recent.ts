import { createHash } from "node:crypto";

import { type Verification, VerificationSchema } from "./gen/verification/v1/verification_pb.js";
import { encode } from "./wire.js";

/**
 * Returns the key of an outcome, or of one change. A revision alone can stand for another outcome after the store has lost writes.
 */
export function keyOf(v: Verification | undefined, outcome: boolean): string {
  if (v === undefined) {
    return "";
  }
  if (outcome) {
    return `${v.sessionId} ${v.outcomeRevision} ${v.outcomeId}`;
  }
  const content = createHash("sha256").update(encode(VerificationSchema, v)).digest("base64url");
  return `${v.sessionId} ${v.revision} ${v.outcomeId} ${content}`;
}

/** Recent is a set of the keys that were added last. */
export class Recent {
  readonly #size: number;
  readonly #keys = new Set<string>();

  constructor(size: number) {
    this.#size = size;
  }

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  /** Adds a key. If the set is full, it evicts the oldest one. */
  add(key: string): void {
    if (this.#keys.has(key)) {
      return;
    }
    if (this.#keys.size >= this.#size) {
      const [oldest = ""] = this.#keys;
      this.#keys.delete(oldest);
    }
    this.#keys.add(key);
  }
}
