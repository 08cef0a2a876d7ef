import type { RetryDenial, Status } from "./gen/verification/v1/verification_pb.js";
import type { CallOptions } from "./options.js";

/** ListQuery selects the sessions of a list: exactly one of its properties is set. */
export type ListQuery =
  /** The sessions with this reference. The list has the newest 1,000 of them, by creation time. */
  | { readonly reference: string }
  /** The sessions with this status. For `VERIFIED` and `CANCELED` the list has about the newest 1,900 sessions. */
  | { readonly status: Status }
  /**
   * The open sessions for which a retry is denied, with `LIMIT_REACHED` or `NOT_RETRYABLE`. A list with another denial fails with
   * an {@link InvalidRequestError}: select a status instead.
   */
  | { readonly denial: RetryDenial }
  /** The sessions whose state can differ from Stripe's: the order of two events is ambiguous, and Stripe could not be asked. */
  | { readonly inDoubt: true }
  /** The sessions in processing whose updateTime is at least this long ago, in milliseconds. 0 selects all in processing. */
  | { readonly processingLongerThan: number };

/** ListOptions are the options of `list`. */
export interface ListOptions extends CallOptions {
  /** The number of sessions in a page, 1 to 200. Default: the service's, 50. */
  readonly pageSize?: number | undefined;
}
