import { create } from "@bufbuild/protobuf";

import { WatchStatusResponseSchema } from "../gen/verification/v1/verification_pb.js";
import type { AllSessions, Verification, WatchStatusRequest, WatchStatusResponse } from "../gen/verification/v1/verification_pb.js";
import { checkAllSessions, checkReference, checkSessionId, checkToken } from "./checks.js";
import { passOver, take } from "./consumer.js";
import type { Consumer } from "./consumer.js";
import { fault, invalid } from "./fault.js";
import { selects } from "./outcome.js";
import { isNewer } from "./session.js";
import type { Session } from "./session.js";
import type { State } from "./state.js";
import { digest, formatToken, newToken, parseToken } from "./token.js";
import type { Token } from "./token.js";

/** Follower is the subject and the position of one watch. */
export interface Follower {
  at: Token;
  reference: string;
  /** Of a watch of all sessions; undefined: of one subject. */
  filter: AllSessions | undefined;
  /** Whether a watch of all sessions has sent its first token. */
  begun: boolean;
  /** Of the filter. */
  consumer: Consumer | undefined;
  /** Feed entries, to the last one that was sent. */
  sent: number;
}

/** Returns the follower of a request, or throws the error for its caller. */
export function follow(state: State, request: WatchStatusRequest): Follower {
  const text = request.resumeToken;
  checkToken("resume_token", text);
  const f = subjectOf(state, request);
  f.at.epoch = state.epoch;
  if (text !== "") {
    const at = parseToken(text, f.at.subject);
    if (at === undefined) throw fault("RESUME_TOKEN_INVALID");
    if (at.epoch !== state.epoch) throw fault("RESUME_TOKEN_EXPIRED");
    f.at = at;
    f.sent = at.entries;
  }
  if (f.filter === undefined) checkExists(state, f);
  if (f.consumer !== undefined) f.consumer.holder = f;
  return f;
}

function subjectOf(state: State, request: WatchStatusRequest): Follower {
  const f: Follower = { at: newToken(""), reference: "", filter: undefined, begun: false, consumer: undefined, sent: 0 };
  const { subject } = request;
  switch (subject.case) {
    case "sessionId":
      checkSessionId(subject.value);
      f.at = newToken(subject.value, { session: subject.value });
      return f;
    case "clientReferenceId":
      checkReference(subject.value);
      f.reference = subject.value;
      f.at = newToken(digest("reference", f.reference));
      return f;
    case "allSessions":
      if (request.untilSettled) throw invalid("until_settled", "does not go with all_sessions");
      checkAllSessions(subject.value);
      f.filter = subject.value;
      f.at = newToken("all", { entries: state.feed.length });
      if (f.filter.consumer !== "") take(state, f, request.resumeToken);
      return f;
    default:
      throw invalid("subject", "is missing: set session_id, client_reference_id or all_sessions");
  }
}

/** Throws an error if the session or reference of a watch is unknown. */
function checkExists(state: State, f: Follower): void {
  if (f.at.session === "") f.at.session = state.newest(f.reference)?.latest?.sessionId ?? "";
  const v = state.sessions.get(f.at.session)?.latest;
  if (v === undefined) throw fault("SESSION_NOT_FOUND");
  if (f.reference !== "" && v.clientReferenceId !== f.reference) throw fault("RESUME_TOKEN_EXPIRED");
}

/** Returns the responses that the watch has not sent yet, or throws the error that ends it. */
export function pending(state: State, f: Follower): WatchStatusResponse[] {
  if (f.filter !== undefined) return pendingFeed(state, f, f.filter);
  lead(state, f);
  const life = state.sessions.get(f.at.session) as Session;
  const current = life.latest?.revision ?? 0;
  const responses: WatchStatusResponse[] = [];
  let next = f.at.revision === 0 ? current : f.at.revision + 1; // the current status first
  for (; next <= current; next++) {
    f.at.revision = next;
    const v = life.at(next);
    if (v !== undefined) responses.push(responseOf(f.at, v));
  }
  return responses;
}

/**
 * Moves a watch by reference to the newest session with the reference, if that is newer than the one shown, or if the one shown has
 * had another reference since: it was another person's then.
 */
function lead(state: State, f: Follower): void {
  if (f.reference === "") return;
  const shown = state.sessions.get(f.at.session) as Session;
  const newest = state.newest(f.reference);
  const moved = shown.hadOtherReference(f.reference, f.at.revision);
  if (moved && newest === undefined) throw fault("SESSION_NOT_FOUND");
  if (moved && newest === shown) throw fault("RESUME_TOKEN_EXPIRED"); // it has the reference again
  const [a, b] = [newest?.latest, shown.latest];
  if (a !== undefined && (moved || (b !== undefined && isNewer(a, b)))) {
    f.at.session = a.sessionId;
    f.at.revision = 0;
  }
}

function pendingFeed(state: State, f: Follower, filter: AllSessions): WatchStatusResponse[] {
  const responses: WatchStatusResponse[] = [];
  if (!f.begun) {
    f.begun = true;
    const first = responseOf(f.at);
    first.consumer = filter.consumer;
    responses.push(first);
  }
  while (f.at.entries < state.feed.length) {
    const changed = state.feed[f.at.entries++];
    const life = changed && state.sessions.get(changed.id);
    const v = changed && life?.at(changed.revision);
    if (life !== undefined && v !== undefined && selects(life, filter, v)) {
      f.sent = f.at.entries;
      responses.push(responseOf(f.at, v));
    }
  }
  passOver(f);
  return responses;
}

/** Returns a response after a position; without a verification it is a heartbeat. */
export function responseOf(at: Token, v?: Verification): WatchStatusResponse {
  const response = create(WatchStatusResponseSchema, { resumeToken: formatToken(at) });
  if (v !== undefined) response.verification = v;
  return response;
}

/** Returns whether until_settled ends the stream. */
export function isSettled(state: State, f: Follower): boolean {
  const v = state.sessions.get(f.at.session)?.latest;
  return v !== undefined && v.settled && (f.reference === "" || v.supersededBy === "");
}
