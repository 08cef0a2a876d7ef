import { Metadata, status as grpcStatus } from "@grpc/grpc-js";
import type { EventEmitter } from "node:events";

import { untilAborted } from "./abort.js";
import type { Connections } from "./connections.js";
import type { Lease } from "./pool.js";
import { fromStatus } from "./error-from.js";
import type { Status } from "./error-from.js";
import { UnavailableError, VerificationError } from "./errors.js";
import type { Tokens } from "./token.js";

/** Transport is what every call needs. */
export interface Transport {
  readonly connections: Connections;
  readonly tokens: Tokens;
}

/** Returns the metadata of a call. */
export async function metadataOf(tokens: Tokens, own: string | undefined, signal: AbortSignal): Promise<Metadata> {
  signal.throwIfAborted();
  const metadata = new Metadata();
  const authorization = await untilAborted(tokens.header(own, signal), signal);
  if (authorization !== undefined) {
    metadata.set("authorization", authorization);
  }
  return metadata;
}

/** The texts with which grpc-js tells that the server has certainly not begun a call: it was refused, or not sent. */
const unprocessed = /^(Stream refused by server|Failed to start HTTP\/2 stream|Channel closed before call started)/;

/**
 * Reports whether the server has certainly not begun a call, so that another connection can have it: the stream was refused or
 * begun after the server's GOAWAY, or the connection closed before the call was sent.
 */
export function isUnprocessed(status: Status): boolean {
  // An answer can have such a text too.
  return unprocessed.test(status.details) && !hasAnswer(status);
}

/** Reports whether a status is that of an answer, which has headers or trailers. */
function hasAnswer(status: Status): boolean {
  return Object.keys(status.metadata.getMap()).length > 0;
}

/** Judges the errors of one call by the header that came first: what a proxy answers is no gRPC. */
export class Judge {
  #contentType: string | undefined;

  /** Listens to the headers of a call. */
  constructor(call: EventEmitter) {
    call.on("metadata", (metadata: Metadata) => {
      const [type] = metadata.get("content-type");
      this.#contentType = typeof type === "string" ? type : undefined;
    });
  }

  /** Returns the error of the call. */
  error(status: Status): VerificationError {
    // Node closes the streams of a connection that it has lost as if they were canceled. What this package cancels has another
    // text.
    if (status.code === grpcStatus.CANCELLED && status.details === "Call cancelled") {
      return new UnavailableError({
        code: "UNAVAILABLE",
        message: "the connection was lost, or the stream was reset",
        cause: status,
      });
    }
    // A server on Node 24 resets a stream beyond its limit with ENHANCE_YOUR_CALM, others refuse it.
    if (status.details.startsWith("Bandwidth exhausted") && !hasAnswer(status)) {
      return new UnavailableError({ code: "UNAVAILABLE", message: `the stream was reset: ${status.details}`, cause: status });
    }
    const error = fromStatus(status);
    const type = this.#contentType;
    // grpc-js takes a page for a message that is too long.
    if (error.fromService || error.code !== "RESOURCE_EXHAUSTED" || type === undefined || type.startsWith("application/grpc")) {
      return error;
    }
    return new VerificationError({
      code: "UNKNOWN",
      message: `the answer is no gRPC, its content-type is ${type.slice(0, 100)}`,
      cause: status,
    });
  }
}

/**
 * Makes a call over a connection, and tells the lease of an answer. It returns undefined if the connection was closed at this
 * moment.
 */
export function begin<C extends EventEmitter>(lease: Lease, make: () => C): C | undefined {
  try {
    const call = make();
    call.on("metadata", () => lease.answered());
    call.on("status", (status: Status) => {
      if (hasAnswer(status)) {
        lease.answered(); // of trailers alone
      }
    });
    return call;
  } catch (error) {
    lease.release();
    if (lease.connection.usable) {
      throw error;
    }
    return undefined;
  }
}
