import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";

import { invalid } from "./error-from.js";

/** The longest time that a timer of Node can have, in milliseconds. */
export const maxTimeout = 2 ** 31 - 1;

/** Returns a timeout that a timer can have. It throws an InvalidRequestError for what is no time. */
export function checkTimeout(milliseconds: number): number {
  if (!(milliseconds >= 0)) {
    throw invalid(`timeout ${milliseconds}: at least 0 milliseconds`);
  }
  return Math.min(milliseconds, maxTimeout);
}

/** Returns a duration of the contract. It throws an InvalidRequestError for what is no time. */
export function durationOf(milliseconds: number): Duration {
  if (!Number.isFinite(milliseconds)) {
    throw invalid(`${milliseconds} is no number of milliseconds`);
  }
  const seconds = Math.trunc(milliseconds / 1000);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos: Math.round((milliseconds - seconds * 1000) * 1e6) });
}
