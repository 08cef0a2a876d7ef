import { clone, create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs, timestampNow } from "@bufbuild/protobuf/wkt";

import * as v1 from "../gen/verification/v1/verification_pb.js";
import type { RetryVerificationRequest, RetryVerificationResponse, Verification } from "../gen/verification/v1/verification_pb.js";
import { checkAccount, checkKeyVersion, checkReturnUrl, checkSessionId } from "./checks.js";
import { fault, retryDenied } from "./fault.js";
import { stateDenial } from "./session.js";
import type { Session } from "./session.js";
import type { State } from "./state.js";

/** RetryAnswer answers a RetryVerification, or throws a {@link Fault}. */
export type RetryAnswer = (
  request: RetryVerificationRequest,
) =>
  | MessageInitShape<typeof v1.RetryVerificationResponseSchema>
  | Promise<MessageInitShape<typeof v1.RetryVerificationResponseSchema>>;

const replacement = "_replacement";

/** Answers a RetryVerification by the rules that FakeServer.onRetry lists. principal is the name of the caller. */
export async function answerRetry(
  state: State,
  request: RetryVerificationRequest,
  principal: string,
): Promise<RetryVerificationResponse> {
  state.checkFailure();
  checkSessionId(request.sessionId);
  checkReturnUrl(request.returnUrl);
  checkKeyVersion(request.ephemeralKeyVersion);
  checkAccount(request.account);
  if (state.onRetry !== undefined) return create(v1.RetryVerificationResponseSchema, await state.onRetry(request));
  const response = retry(state, request, principal);
  if (request.ephemeralKeyVersion !== "")
    response.ephemeralKeySecret = `ek_test_${response.verification?.sessionId}_${state.links}`;
  return response;
}

function retry(state: State, request: RetryVerificationRequest, principal: string): RetryVerificationResponse {
  let id = request.sessionId;
  for (let link = 0; link <= state.sessions.size; link++) {
    // a chain of replacements
    const life = state.sessions.get(id);
    const v = life?.latest;
    if (life === undefined || v === undefined || otherAccount(v, request.account)) throw fault("SESSION_NOT_FOUND");
    const denial = stateDenial(v);
    if (request.replaceClosed && denial === v1.RetryDenial.CANCELED) return replace(state, life, principal);
    if (!request.replaceClosed || denial !== v1.RetryDenial.SUPERSEDED) return grant(state, life, v, principal);
    id = v.supersededBy;
  }
  throw fault("CONFLICT");
}

/** Returns whether a caller names another account than that of a session. */
export function otherAccount(v: Verification, account: string): boolean {
  return account !== "" && v.account !== account;
}

/** Returns a link, or throws the error of a denied retry. */
function grant(state: State, life: Session, v: Verification, principal: string): RetryVerificationResponse {
  if (!v.retry?.allowed) {
    const next = v.retry?.nextRetryTime;
    const wait = next === undefined ? 0 : timestampMs(next) - Date.now();
    throw retryDenied(v.retry?.denial ?? 0, { supersededBy: v.supersededBy, wait });
  }
  const { id } = life.newest;
  if (id === "" || life.failures.get(id)) return linkOf(state, v);
  const used = life.useRetry();
  life.failures.set(id, true);
  const granted = state.set(used, v1.Source.RETRY);
  note(life, principal, 0);
  return linkOf(state, granted);
}

/** Creates the replacement of a canceled session, and returns a link for it. */
function replace(state: State, life: Session, principal: string): RetryVerificationResponse {
  const denial = life.replacementDenial();
  if (denial !== 0) throw retryDenied(denial);
  const closed = state.set(life.useRetry(), v1.Source.RETRY);
  note(life, principal, 0);
  const { type, stripeType, livemode, account, clientReferenceId } = closed;
  const sessionId = closed.sessionId.slice(0, 255 - replacement.length) + replacement;
  const init = { sessionId, status: v1.Status.REQUIRES_INPUT, type, stripeType, livemode, account, clientReferenceId };
  const next = clone(v1.VerificationSchema, state.set(create(v1.VerificationSchema, init), v1.Source.STRIPE_API));
  next.replaces = closed.sessionId;
  if (closed.retry !== undefined) next.retry = clone(v1.RetryStateSchema, closed.retry);
  (state.sessions.get(sessionId) as Session).inherited = closed.retry?.failedAttempts ?? 0;
  const made = state.set(next, v1.Source.REPLACEMENT);
  const superseded = clone(v1.VerificationSchema, closed);
  superseded.supersededBy = sessionId;
  state.set(superseded, v1.Source.REPLACEMENT);
  return linkOf(state, made);
}

/** Returns an answer with a new link. */
function linkOf(state: State, v: Verification): RetryVerificationResponse {
  state.links++;
  const name = state.links > 1 ? `${v.sessionId}/${state.links}` : v.sessionId;
  return create(v1.RetryVerificationResponseSchema, {
    verification: clone(v1.VerificationSchema, v),
    clientSecret: `${v.sessionId}_secret_test${state.links}`,
    url: `https://verify.stripe.test/start/${name}`,
  });
}

/** Completes the newest entry of the history. */
export function note(life: Session, principal: string, operation: v1.Operation): void {
  const entry = life.history.at(-1);
  if (entry === undefined) return;
  entry.principal = principal;
  entry.operation = operation;
  entry.recordTime = timestampNow();
}
