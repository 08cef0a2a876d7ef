import { toJson } from "@bufbuild/protobuf";
import type { JsonObject } from "@bufbuild/protobuf";

import type { Link } from "./client.js";
import { VerificationSchema } from "./gen/verification/v1/verification_pb.js";
import type { Verification } from "./gen/verification/v1/verification_pb.js";

/**
 * Returns a verification in protobuf's JSON form: names of enums such as `STATUS_VERIFIED`, times in RFC 3339, and no field that has its
 * zero value. `JSON.stringify` of a verification itself fails, because its times hold a BigInt.
 *
 * It has all fields. To a person's browser send those of `./sse` only.
 */
export function verificationToJson(verification: Verification): JsonObject {
  return toJson(VerificationSchema, verification) as JsonObject;
}

/** linkOf returns a link that `JSON.stringify` can encode: its secrets are `[redacted]`. */
export function linkOf(parts: Omit<Link, "toJSON">): Link {
  const { verification, ...secrets } = parts;
  return Object.defineProperty({ ...parts } as Link, "toJSON", {
    value: () => ({ verification: verificationToJson(verification), ...secrets }),
  });
}
