import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Client, ClientReadableStream, ServiceError } from "@grpc/grpc-js";

import { VerificationService } from "./gen/verification/v1/verification_pb.js";

/**
 * Health is the answer of the health service over one connection. A greater value is better.
 *
 * grpc-js has no client-side health checking. Here health only orders the connections: if no better one is left, calls use a
 * connection that is not ready, and its server or proxy returns its own error.
 */
export const Health = {
  /** No answer yet. */
  pending: 0,
  notServing: 1,
  /** The health service cannot be asked: a proxy refuses it, it is not registered, or it has too many watches. */
  unknown: 2,
  serving: 3,
} as const;

/** The type of the values of Health. */
export type Health = (typeof Health)[keyof typeof Health];

const path = "/grpc.health.v1.Health/Watch";

/** The value SERVING of grpc.health.v1.HealthCheckResponse.ServingStatus. */
const serving = 1;

const request = Buffer.from(new BinaryWriter().tag(1, WireType.LengthDelimited).string(VerificationService.typeName).finish());

/** Decodes the status of a grpc.health.v1.HealthCheckResponse. */
function decodeAnswer(bytes: Uint8Array): Health {
  const reader = new BinaryReader(bytes);
  let status = 0;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1 && wireType === WireType.Varint) {
      status = reader.int32();
    } else {
      reader.skip(wireType, field);
    }
  }
  return status === serving ? Health.serving : Health.notServing;
}

/**
 * Watches the health service over a connection, and makes the connection connect. answered gets each answer, ended the error of the
 * call, or undefined if it ended without one. The returned function ends the call; neither function is called after that.
 */
export function watchHealth(
  client: Client,
  answered: (health: Health) => void,
  ended: (error: ServiceError | undefined) => void,
): () => void {
  const call: ClientReadableStream<Health> = client.makeServerStreamRequest(path, (bytes: Buffer) => bytes, decodeAnswer, request);
  let over = false;
  const end = (error: ServiceError | undefined): void => {
    if (!over) {
      over = true;
      ended(error);
    }
  };
  call.on("data", (health: Health) => {
    if (!over) {
      answered(health);
    }
  });
  call.on("error", (error: ServiceError) => end(error));
  call.on("end", () => end(undefined));
  return () => {
    over = true;
    call.cancel();
  };
}
