import { ErrorCode, RetryDenial, Status } from "../gen/verification/v1/verification_pb.js";
import type { ListFilter, State } from "./pair.rig.js";

const { REQUIRES_INPUT, PROCESSING, VERIFIED, CANCELED } = Status;

/** Returns a state of a session after a failed submission. */
export const failed = (sessionId: string, report: number, code = ErrorCode.DOCUMENT_EXPIRED): State => ({
  sessionId,
  status: REQUIRES_INPUT,
  lastError: { code, reason: "Expired." },
  lastVerificationReport: `vr_${report}`,
  clientReferenceId: "person",
});

export const byId = (value: string) => ({ case: "sessionId", value }) as const;
export const byReference = (value: string) => ({ case: "clientReferenceId", value }) as const;
export const all = { case: "allSessions", value: {} } as const;

/** The lists of the contract. */
export const filters: NonNullable<ListFilter>[] = [
  byReference("person"),
  ...[REQUIRES_INPUT, PROCESSING, VERIFIED, CANCELED].map((value) => ({ case: "status", value }) as const),
  { case: "denial", value: RetryDenial.LIMIT_REACHED },
  { case: "denial", value: RetryDenial.NOT_RETRYABLE },
  { case: "inDoubt", value: {} },
  { case: "processingLongerThan", value: {} },
  { case: "processingLongerThan", value: { seconds: 2n ** 33n } },
];
