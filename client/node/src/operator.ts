import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";

import type { Operator } from "./client.js";
import { checkText } from "./error-from.js";
import { OutcomeChangedError, VerificationError } from "./errors.js";
import { OperatorService } from "./gen/verification/v1/operator_pb.js";
import type { Verification } from "./gen/verification/v1/verification_pb.js";
import type { CallOptions } from "./options.js";
import { type Method, methodOf } from "./wire.js";

const allowRetry = methodOf(OperatorService.method.allowRetry);
const resolveVerification = methodOf(OperatorService.method.resolveVerification);

/** Call makes a unary call. */
export type Call = <I extends DescMessage, O extends DescMessage>(
  method: Method<I, O>,
  request: MessageShape<I>,
  options: CallOptions,
) => Promise<MessageShape<O>>;

/** Returns the calls of support staff. */
export function operatorOf(call: Call): Operator {
  return {
    allowRetry: async (sessionId, { seenOutcome = 0, ...options } = {}) => {
      checkText("the session id", sessionId);
      return session(call(allowRetry, create(allowRetry.input, { sessionId, outcomeRevision: seenOutcome }), options));
    },
    resolve: async (sessionId, kind, { seenOutcome = 0, ...options } = {}) => {
      checkText("the session id", sessionId);
      const request = create(resolveVerification.input, { sessionId, kind, outcomeRevision: seenOutcome });
      return session(call(resolveVerification, request, options));
    },
  };
}

/**
 * Returns the session of an answer. A conflict for which the service asks for no wait is that of seenOutcome. If writers were in
 * each other's way, the service asks for a wait.
 */
async function session(answer: Promise<{ readonly verification?: Verification | undefined }>): Promise<Verification> {
  try {
    const { verification } = await answer;
    if (verification === undefined) {
      throw new VerificationError({ code: "INTERNAL", message: "the answer has no session" });
    }
    return verification;
  } catch (error) {
    if (error instanceof VerificationError && error.reason === "CONFLICT" && error.retryAfter === 0) {
      throw new OutcomeChangedError(error);
    }
    throw error;
  }
}
