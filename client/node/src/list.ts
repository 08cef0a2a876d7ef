import { create } from "@bufbuild/protobuf";

import { sleep } from "./abort.js";
import type { FullJitter } from "./backoff.js";
import { checkTimeout, durationOf } from "./duration.js";
import { askedWait, checkText, invalid } from "./error-from.js";
import { VerificationError } from "./errors.js";
import {
  InDoubtSchema,
  type ListVerificationsRequest,
  ListVerificationsRequestSchema,
  type ListVerificationsResponse,
  type Verification,
} from "./gen/verification/v1/verification_pb.js";
import type { ListOptions, ListQuery } from "./list-query.js";
import type { CallOptions } from "./options.js";

const maxPageSize = 200;

/** Bounds one page with all its tries, if the caller sets no timeout. In milliseconds. */
const pageTimeout = 10_000;

/** ReadPage makes one call. */
export type ReadPage = (request: ListVerificationsRequest, options: CallOptions) => Promise<ListVerificationsResponse>;

/** Reads a list, page by page. It reads a page when the loop needs the first session of it. */
export async function* list(
  readPage: ReadPage,
  backoff: FullJitter,
  query: ListQuery,
  options: ListOptions,
  signal: AbortSignal,
): AsyncGenerator<Verification, void, undefined> {
  const request = requestOf(query, options);
  for (;;) {
    const page = await readWithRepeats(readPage, backoff, request, options, signal);
    yield* page.verifications;
    if (page.nextPageToken === "") {
      return;
    }
    if (page.nextPageToken === request.pageToken) {
      // Otherwise such a server would keep the loop for ever.
      throw new VerificationError({
        code: "INTERNAL",
        message: "the server returned a page's own token as the token of the next page",
      });
    }
    request.pageToken = page.nextPageToken;
  }
}

function requestOf(query: ListQuery, options: ListOptions): ListVerificationsRequest {
  const pageSize = options.pageSize ?? 0;
  const request = create(ListVerificationsRequestSchema, { pageSize: Math.min(Math.max(pageSize, -1), maxPageSize) });
  if (Object.values(query).filter((value) => value !== undefined).length > 1) {
    throw invalid("the query selects in more than one way: choose one");
  }
  if ("reference" in query) {
    checkText("the reference", query.reference);
    request.filter = { case: "clientReferenceId", value: query.reference };
  } else if ("status" in query) {
    request.filter = { case: "status", value: query.status };
  } else if ("denial" in query) {
    request.filter = { case: "denial", value: query.denial };
  } else if ("inDoubt" in query) {
    request.filter = { case: "inDoubt", value: create(InDoubtSchema) };
  } else if ("processingLongerThan" in query) {
    request.filter = { case: "processingLongerThan", value: durationOf(query.processingLongerThan) };
  }
  return request;
}

/** Reads one page. It tries again while another try can succeed before the deadline. */
async function readWithRepeats(
  readPage: ReadPage,
  backoff: FullJitter,
  request: ListVerificationsRequest,
  options: ListOptions,
  signal: AbortSignal,
): Promise<ListVerificationsResponse> {
  const deadline = performance.now() + checkTimeout(options.timeout ?? pageTimeout);
  for (let failures = 1; ; failures++) {
    const left = deadline - performance.now();
    try {
      return await readPage(request, { signal, token: options.token, timeout: left });
    } catch (error) {
      signal.throwIfAborted();
      const wait = askedWait(error) + backoff.random(failures);
      // If the wait is longer than the time left, this error says more than DEADLINE_EXCEEDED.
      if (!isTemporary(error) || deadline - performance.now() < wait) {
        throw error;
      }
      await sleep(signal, wait);
      signal.throwIfAborted();
    }
  }
}

/** Reports whether a page that failed can succeed in another try. */
function isTemporary(error: unknown): boolean {
  return error instanceof VerificationError && ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"].includes(error.code);
}
