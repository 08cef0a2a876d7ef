import { create } from "@bufbuild/protobuf";

import * as v1 from "../gen/verification/v1/verification_pb.js";
import type { ListVerificationsRequest, ListVerificationsResponse, Verification } from "../gen/verification/v1/verification_pb.js";
import { checkReference, checkToken } from "./checks.js";
import { durationNanos } from "./duration.js";
import { invalid } from "./fault.js";
import { compareText } from "./session.js";
import type { Session } from "./session.js";
import { digest, formatToken, newToken, parseToken } from "./token.js";

/** The contract's page sizes, and the number of sessions in the list of a reference. */
const defaultPageSize = 50;
const maxPageSize = 200;
const maxOfReference = 1000;

/** Filter defines one list. */
interface Filter {
  /** In tokens. */
  name: string;
  has: (life: Session, v: Verification) => boolean;
  /** The sort key. The greatest comes first. */
  second: (v: Verification) => number;
  /** Sessions in the list at most. */
  most: number;
}

/** Returns one page of a list of sessions, or throws the error for its caller. now is in Unix milliseconds. */
export function list(sessions: Iterable<Session>, request: ListVerificationsRequest, now: number): ListVerificationsResponse {
  const filter = filterOf(request, now);
  if (request.pageSize < 0) throw invalid("page_size", "is negative");
  const size = Math.min(request.pageSize || defaultPageSize, maxPageSize);
  const subject = digest("list", filter.name);
  let verifications = listed(sessions, filter);
  if (request.pageToken !== "") {
    checkToken("page_token", request.pageToken);
    const after = parseToken(request.pageToken, subject);
    if (after === undefined) throw invalid("page_token", "is not a token of this list");
    verifications = verifications.filter((v) => {
      const second = filter.second(v);
      return second < after.second || (second === after.second && v.sessionId < after.session);
    });
  }
  const response = create(v1.ListVerificationsResponseSchema, { verifications: verifications.slice(0, size) });
  const last = response.verifications.at(-1);
  if (verifications.length > size && last !== undefined) {
    response.nextPageToken = formatToken(newToken(subject, { session: last.sessionId, second: filter.second(last) }));
  }
  return response;
}

/** Returns the whole list. */
function listed(sessions: Iterable<Session>, filter: Filter): Verification[] {
  const all: Verification[] = [];
  for (const life of sessions) {
    const v = life.latest;
    if (v !== undefined && life.redacted === 0 && filter.has(life, v)) all.push(v);
  }
  all.sort((a, b) => filter.second(b) - filter.second(a) || compareText(b.sessionId, a.sessionId));
  return all.slice(0, filter.most);
}

function filterOf(request: ListVerificationsRequest, now: number): Filter {
  const second = (v: Verification): number => Number(v.updateTime?.seconds ?? 0n);
  const most = Infinity;
  const by = request.filter;
  switch (by.case) {
    case "clientReferenceId":
      checkReference(by.value);
      return {
        name: `reference ${by.value}`,
        has: (_, v) => v.clientReferenceId === by.value,
        second: (v) => Number(v.createTime?.seconds ?? 0n),
        most: maxOfReference,
      };
    case "status":
      if (!(by.value in v1.Status) || by.value === 0)
        throw invalid("status", `${v1.Status[by.value] ?? by.value} cannot be listed`);
      return { name: `status STATUS_${v1.Status[by.value]}`, has: (_, v) => listStatus(v) === by.value, second, most };
    case "denial":
      if (by.value !== v1.RetryDenial.LIMIT_REACHED && by.value !== v1.RetryDenial.NOT_RETRYABLE) {
        throw invalid("denial", `${v1.RetryDenial[by.value] ?? by.value} has no list`);
      }
      return { name: `denial RETRY_DENIAL_${v1.RetryDenial[by.value]}`, has: (_, v) => v.retry?.denial === by.value, second, most };
    case "inDoubt":
      return { name: "in doubt", has: (life) => life.inDoubt, second, most };
    case "processingLongerThan": {
      const nanos = durationNanos(by.value);
      if (nanos === undefined || nanos < 0n) throw invalid("processing_longer_than", "is no duration of 0 or more");
      return { name: `processing ${nanos}`, has: longerThan(nanos, now), second, most };
    }
    default:
      throw invalid("filter", "is missing");
  }
}

/** Returns the status under which a session is listed. An unknown status is listed as processing. */
function listStatus(v: Verification): v1.Status {
  return v.status === 0 ? v1.Status.PROCESSING : v.status;
}

function longerThan(nanos: bigint, now: number): (_: Session, v: Verification) => boolean {
  const until = (BigInt(now) * 1_000_000n - nanos) / 1_000_000_000n;
  return (_, v) => listStatus(v) === v1.Status.PROCESSING && (v.updateTime?.seconds ?? 0n) <= until;
}
