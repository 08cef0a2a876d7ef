import { clone, create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Server, ServerUnaryCall, ServerWritableStream, UntypedHandleCall, sendUnaryData } from "@grpc/grpc-js";

import * as comparison from "../gen/verification/v1/comparison_pb.js";
import * as feed from "../gen/verification/v1/feed_pb.js";
import * as operator from "../gen/verification/v1/operator_pb.js";
import * as v1 from "../gen/verification/v1/verification_pb.js";
import { checkAccount, checkConsumer, checkReference, checkSessionId } from "./checks.js";
import { compare } from "./comparison.js";
import { acknowledge, deleteConsumer, listConsumers } from "./consumer.js";
import { fault, invalid } from "./fault.js";
import { list } from "./list.js";
import { allowRetry, resolve } from "./operator.js";
import { answerRetry, otherAccount } from "./retry.js";
import type { Session } from "./session.js";
import type { State } from "./state.js";
import { serveWatch } from "./stream.js";
import { definitionOf } from "./wire.js";

/** How many sessions a summary has. */
const maxOfPerson = 100;

/** Adds the services of the contract to the server of a replica. */
export function addServices(server: Server, state: State, replica: object): void {
  const named = <I, O>(answer: (request: I, principal: string) => O | Promise<O>): UntypedHandleCall =>
    unary<I, O>((request, call) => answer(request, principalOf(state, call)));
  server.addService(definitionOf(v1.VerificationService), {
    getStatus: unary((request: v1.GetStatusRequest) => getStatus(state, request)),
    listVerifications: unary((request: v1.ListVerificationsRequest) => {
      state.checkFailure();
      return list(state.sessions.values(), request, Date.now());
    }),
    retryVerification: named((request: v1.RetryVerificationRequest, principal) => answerRetry(state, request, principal)),
    watchStatus: (call: ServerWritableStream<v1.WatchStatusRequest, v1.WatchStatusResponse>) => {
      serveWatch(state, replica, call).then(
        () => call.end(),
        (error: unknown) => call.emit("error", error),
      );
    },
  });
  server.addService(definitionOf(operator.OperatorService), {
    allowRetry: named((request: operator.AllowRetryRequest, principal) =>
      create(operator.AllowRetryResponseSchema, { verification: allowRetry(state, request, principal) }),
    ),
    resolveVerification: named((request: operator.ResolveVerificationRequest, principal) =>
      create(operator.ResolveVerificationResponseSchema, { verification: resolve(state, request, principal) }),
    ),
  });
  server.addService(definitionOf(comparison.ComparisonService), {
    compareVerifiedOutputs: named((request: comparison.CompareVerifiedOutputsRequest, principal) =>
      compare(state, request, principal),
    ),
  });
  server.addService(definitionOf(feed.FeedService), {
    acknowledgeChanges: unary((request: feed.AcknowledgeChangesRequest) => {
      state.checkFailure();
      acknowledge(state, request);
      return create(feed.AcknowledgeChangesResponseSchema);
    }),
    listConsumers: unary(() => {
      state.checkFailure();
      return create(feed.ListConsumersResponseSchema, { consumers: listConsumers(state) });
    }),
    deleteConsumer: unary((request: feed.DeleteConsumerRequest) => {
      state.checkFailure();
      checkConsumer(request.consumer);
      deleteConsumer(state, request.consumer);
      return create(feed.DeleteConsumerResponseSchema);
    }),
  });
}

/** Makes the handler of a unary method. What answer throws ends the call. */
export function unary<I, O>(answer: (request: I, call: ServerUnaryCall<I, O>) => O | Promise<O>): UntypedHandleCall {
  return (call: ServerUnaryCall<I, O>, done: sendUnaryData<O>) => {
    new Promise<O>((resolve) => resolve(answer(call.request, call))).then(
      (response) => done(null, response),
      (error: unknown) => done(error as Error),
    );
  };
}

function principalOf(state: State, call: ServerUnaryCall<unknown, unknown>): string {
  if (state.nameCaller === undefined) return "";
  const headers = Object.entries(call.metadata.getMap()).map(([name, value]) => [name, value.toString()]);
  return state.nameCaller(Object.fromEntries(headers) as Record<string, string>);
}

function getStatus(state: State, request: v1.GetStatusRequest): v1.GetStatusResponse {
  state.checkFailure();
  const life = subjectOf(state, request);
  const v = life?.latest;
  if (request.minRevision < 0) throw invalid("min_revision", "is negative");
  if (request.includePerson && request.subject.case !== "clientReferenceId") {
    throw invalid("include_person", "goes with client_reference_id only");
  }
  if (v !== undefined && otherAccount(v, request.account)) throw fault("SESSION_NOT_FOUND");
  // The service waits up to two seconds for min_revision first.
  if ((v?.revision ?? 0) < request.minRevision) throw fault("REVISION_LOST");
  if (life === undefined || v === undefined) throw fault("SESSION_NOT_FOUND");
  const init: MessageInitShape<typeof v1.GetStatusResponseSchema> = { verification: v };
  if (request.includeHistory && life.redacted === 0) init.history = life.history;
  if (request.includePerson) init.person = person(state, v);
  return create(v1.GetStatusResponseSchema, init);
}

function subjectOf(state: State, { subject, account }: v1.GetStatusRequest): Session | undefined {
  switch (subject.case) {
    case "sessionId":
      checkSessionId(subject.value);
      checkAccount(account);
      return state.sessions.get(subject.value);
    case "clientReferenceId":
      checkReference(subject.value);
      if (account !== "") throw invalid("account", "does not go with client_reference_id");
      return state.newest(subject.value);
    default:
      throw invalid("subject", "is missing: set session_id or client_reference_id");
  }
}

/** Returns the summary of the sessions that have the reference of this one. */
function person(state: State, answers: v1.Verification): v1.Person {
  const all = state.ofPerson(answers).slice(0, maxOfPerson);
  const summary = create(v1.PersonSchema, { sessions: all.length });
  for (const life of all) {
    summary.failedAttempts += (life.latest?.retry?.failedAttempts ?? 0) - life.inherited;
    const v = life.latest;
    if (v?.status === v1.Status.VERIFIED) summary.verified ??= clone(v1.VerificationSchema, v);
  }
  return summary;
}
