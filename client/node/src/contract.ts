/**
 * All messages, enums and services of the contract, as protobuf-es generates them.
 *
 * @module
 */
export * from "./gen/verification/v1/comparison_pb.js";
export * from "./gen/verification/v1/feed_pb.js";
export * from "./gen/verification/v1/operator_pb.js";
export * from "./gen/verification/v1/verification_pb.js";
