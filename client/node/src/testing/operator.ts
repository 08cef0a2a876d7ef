import { clone, create } from "@bufbuild/protobuf";

import type { AllowRetryRequest, ResolveVerificationRequest } from "../gen/verification/v1/operator_pb.js";
import {
  Operation,
  ResolutionKind,
  ResolutionSchema,
  RetryDenial,
  Source,
  VerificationSchema,
} from "../gen/verification/v1/verification_pb.js";
import type { Verification } from "../gen/verification/v1/verification_pb.js";
import { checkSessionId } from "./checks.js";
import { fault, invalid, outcomeChanged, retryDenied } from "./fault.js";
import { seconds } from "./fill.js";
import { note } from "./retry.js";
import type { Session } from "./session.js";
import type { State } from "./state.js";

/** Opens an allowance for what denies a retry. principal is the name of the caller. */
export function allowRetry(state: State, request: AllowRetryRequest, principal: string): Verification {
  const [life, v] = operate(state, request.sessionId, request.outcomeRevision);
  const isClosed = v.retry?.denial === RetryDenial.CANCELED;
  const denial = isClosed ? life.replacementDenial() : (v.retry?.denial ?? 0);
  switch (denial) {
    case RetryDenial.UNSPECIFIED:
      return v;
    case RetryDenial.LIMIT_REACHED:
    case RetryDenial.NOT_RETRYABLE:
    case RetryDenial.COOLDOWN:
      break;
    default:
      throw retryDenied(denial, { supersededBy: v.supersededBy });
  }
  life.allowance = { failure: life.newest.id, replacement: isClosed };
  const allowed = state.set(clone(VerificationSchema, v), Source.OPERATOR);
  note(life, principal, Operation.ALLOW_RETRY);
  return allowed;
}

/** Marks a session as resolved, or takes the mark back. */
export function resolve(state: State, request: ResolveVerificationRequest, principal: string): Verification {
  const [life, v] = operate(state, request.sessionId, request.outcomeRevision, () => {
    if (!(request.kind in ResolutionKind)) throw invalid("kind", "is not a ResolutionKind");
  });
  if ((v.resolution?.kind ?? 0) === request.kind) return v;
  const next = clone(VerificationSchema, v);
  next.resolution = create(ResolutionSchema, { kind: request.kind, principal, time: seconds(Math.floor(Date.now() / 1000)) });
  const resolved = state.set(next, Source.OPERATOR);
  note(life, principal, request.kind === 0 ? Operation.TAKE_BACK : Operation.RESOLVE);
  return resolved;
}

/** Returns the session of an operator's call, or throws the error for its caller. check checks the rest of the request. */
function operate(state: State, id: string, outcomeRevision: number, check = (): void => {}): [Session, Verification] {
  state.checkFailure();
  checkSessionId(id);
  if (outcomeRevision < 0) throw invalid("outcome_revision", "is negative");
  check();
  const life = state.sessions.get(id);
  const v = life?.latest;
  if (life === undefined || v === undefined) throw fault("SESSION_NOT_FOUND");
  if (outcomeRevision !== 0 && outcomeRevision !== v.outcomeRevision) throw outcomeChanged(v.outcomeRevision);
  return [life, v];
}
