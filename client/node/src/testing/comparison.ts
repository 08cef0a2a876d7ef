import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import type { Expected } from "../client.js";
import { CompareVerifiedOutputsResponseSchema, MatchResult, MatchRule } from "../gen/verification/v1/comparison_pb.js";
import type { CompareVerifiedOutputsRequest, CompareVerifiedOutputsResponse } from "../gen/verification/v1/comparison_pb.js";
import { HistoryEntrySchema, Source, Status } from "../gen/verification/v1/verification_pb.js";
import { checkSessionId } from "./checks.js";
import { fault, invalid, waiting } from "./fault.js";
import type { Session } from "./session.js";
import type { State } from "./state.js";

/** CompareAnswer answers a CompareVerifiedOutputs, or throws a {@link Fault}. */
export type CompareAnswer = (
  request: CompareVerifiedOutputsRequest,
) =>
  | MessageInitShape<typeof CompareVerifiedOutputsResponseSchema>
  | Promise<MessageInitShape<typeof CompareVerifiedOutputsResponseSchema>>;

/** Comparisons is what FakeServer.setOutputs and FakeServer.onCompare set. */
export interface Comparisons {
  /** By session id. */
  readonly outputs: Map<string, Expected>;
  answer: CompareAnswer | undefined;
}

/** The service's default settings and bounds of comparisons: how many in how many milliseconds, and entries in a history. */
const maxComparisons = 10;
const window = 24 * 3_600_000;
const keptComparisons = 8;

/** The contract's longest expected value, in bytes. */
const maxExpected = 255;

/** The fields in the order of their numbers: the names of the contract and of Expected. */
const fields = [
  ["first_name", "firstName"],
  ["last_name", "lastName"],
  ["date_of_birth", "dateOfBirth"],
  ["postal_code", "postalCode"],
  ["country", "country"],
  ["id_number", "idNumber"],
  ["email", "email"],
  ["phone", "phone"],
] as const;

type Field = (typeof fields)[number][0];

/** Answers a CompareVerifiedOutputs. principal is the name of the caller. */
export async function compare(
  state: State,
  request: CompareVerifiedOutputsRequest,
  principal: string,
): Promise<CompareVerifiedOutputsResponse> {
  const { outputs, answer } = state.comparisons;
  begin(state, request, principal);
  if (answer !== undefined) return create(CompareVerifiedOutputsResponseSchema, await answer(request));
  const verified = outputs.get(request.sessionId) ?? {};
  const compared = fields.filter(([, key]) => request[key] !== "");
  return create(CompareVerifiedOutputsResponseSchema, {
    fields: compared.map(([field, key]) => ({ field, ...matches(request[key], verified[key] ?? "") })),
  });
}

function matches(expected: string, verified: string): { result: MatchResult; rule?: MatchRule } {
  if (verified === "") return { result: MatchResult.NOT_VERIFIED };
  return verified === expected ? { result: MatchResult.MATCH, rule: MatchRule.EXACT } : { result: MatchResult.MISMATCH };
}

/** Checks a request and counts it, or throws the error for its caller. */
function begin(state: State, request: CompareVerifiedOutputsRequest, principal: string): void {
  state.checkFailure();
  check(request);
  const life = state.sessions.get(request.sessionId);
  const v = life?.latest;
  const now = Date.now();
  if (life === undefined || v === undefined) throw fault("SESSION_NOT_FOUND");
  if (v.status !== Status.VERIFIED || v.redaction !== 0) throw fault("NOT_COMPARABLE");
  life.compared = life.compared.filter((at) => now - at < window);
  const first = life.compared.at(-maxComparisons);
  if (life.compared.length >= maxComparisons && first !== undefined) {
    throw waiting("COMPARISON_LIMIT", "the comparisons of the session are used up", first + window - now);
  }
  life.compared.push(now);
  noteComparison(life, request, principal, now);
}

/** Throws the error of an invalid request. It quotes no value. */
function check(request: CompareVerifiedOutputsRequest): void {
  checkSessionId(request.sessionId);
  const compared = fields.filter(([, key]) => request[key] !== "");
  if (compared.length === 0) throw invalid("first_name", "no field is set");
  for (const [field, key] of compared) {
    if (!isValid(field, request[key])) throw invalid(field, "has another form than the contract says");
  }
}

/** Returns whether the expected value has the form of its field. */
function isValid(field: Field, expected: string): boolean {
  if (Buffer.byteLength(expected) > maxExpected || /\p{Cc}/u.test(expected)) return false;
  switch (field) {
    case "date_of_birth":
      return /^\d{4}-\d{2}-\d{2}$/.test(expected) && isDate(expected);
    case "country":
      return /^[A-Za-z]{2}$/.test(expected);
    case "email":
      return /^[^\t\n\f\r ]+@[^\t\n\f\r @]+$/.test(expected);
    case "phone":
      return /^\+[1-9][0-9]{4,14}$/.test(expected);
    default:
      return /[\p{L}\p{Nd}]/u.test(expected);
  }
}

function isDate(text: string): boolean {
  const date = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}

/** Appends the entry of a comparison, and drops the oldest one beyond keptComparisons. */
function noteComparison(life: Session, request: CompareVerifiedOutputsRequest, principal: string, now: number): void {
  const entries = life.history.filter((entry) => entry.source === Source.COMPARISON);
  if (entries.length >= keptComparisons) life.history = life.history.filter((entry) => entry !== entries[0]);
  const v = life.latest;
  const entry = create(HistoryEntrySchema, {
    source: Source.COMPARISON,
    status: v?.status ?? 0,
    recordTime: timestampFromMs(now),
    principal,
    comparedFields: fields.filter(([, key]) => request[key] !== "").map(([field]) => field),
  });
  if (v?.lastError !== undefined) entry.error = v.lastError;
  life.history.push(entry);
}
