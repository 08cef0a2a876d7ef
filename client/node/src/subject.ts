import type { GetStatusRequest, WatchStatusRequest } from "./gen/verification/v1/verification_pb.js";
import { checkText, invalid } from "./error-from.js";

/**
 * Subject selects the session of a call: one session by Stripe's id (`vs_...`), or the newest session with the caller's own
 * id for a person or case (Stripe's client_reference_id, at most 255 bytes). When a newer session with the reference appears,
 * a watch continues with that session, whose revisions start at 1 again.
 */
export type Subject =
  { readonly session: string; readonly reference?: undefined } | { readonly reference: string; readonly session?: undefined };

type RequestSubject = Extract<
  GetStatusRequest["subject"] & WatchStatusRequest["subject"],
  { case: "sessionId" | "clientReferenceId" | undefined }
>;

/** Returns the subject of a request. It throws an InvalidRequestError if it cannot be sent. The service refuses an empty one. */
export function subjectOf({ session, reference }: Subject): RequestSubject {
  checkText("the subject", session, reference);
  if (session && reference) {
    throw invalid("the subject has a session and a reference: choose one");
  }
  if (session) {
    return { case: "sessionId", value: session };
  }
  return reference ? { case: "clientReferenceId", value: reference } : { case: undefined };
}
