import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, MessageShape } from "@bufbuild/protobuf";

/** Method is a method of the contract, as gRPC calls it. */
export interface Method<I extends DescMessage, O extends DescMessage> {
  /** The path: "/verification.v1.VerificationService/GetStatus". */
  readonly path: string;
  readonly input: I;
  readonly output: O;
}

/** Returns a generated method as gRPC calls it. */
export function methodOf<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { readonly input: I; readonly output: O },
): Method<I, O> {
  return { path: `/${method.parent.typeName}/${method.name}`, input: method.input, output: method.output };
}

/** Encodes a message. It throws if a field has a value that its type does not have, such as 1.5 for an int32. */
export function encode<D extends DescMessage>(schema: D, message: MessageShape<D>): Buffer {
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Returns the function that decodes messages. */
export function decoder<D extends DescMessage>(schema: D): (bytes: Uint8Array) => MessageShape<D> {
  return (bytes) => fromBinary(schema, bytes);
}
