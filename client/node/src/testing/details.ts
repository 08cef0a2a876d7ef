import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** Detail is one message in the details of an error: google.rpc.ErrorInfo and its like. */
export interface Detail {
  /** The full name of the message. */
  readonly type: string;
  readonly bytes: Uint8Array;
}

type Write = (writer: BinaryWriter) => void;

function text(field: number, value: string): Write {
  return (writer) => value !== "" && writer.tag(field, WireType.LengthDelimited).string(value);
}

function message(field: number, ...parts: Write[]): Write {
  return (writer) => writer.tag(field, WireType.LengthDelimited).bytes(bytesOf(...parts));
}

function bytesOf(...parts: Write[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const part of parts) part(writer);
  return writer.finish();
}

// The messages of google/rpc/error_details.proto that the contract promises.

export function errorInfo(reason: string, domain: string, metadata: Record<string, string> = {}): Detail {
  const entries = Object.entries(metadata).map(([key, value]) => message(3, text(1, key), text(2, value)));
  return { type: "google.rpc.ErrorInfo", bytes: bytesOf(text(1, reason), text(2, domain), ...entries) };
}

/** Makes a RetryInfo of a wait in milliseconds. */
export function retryInfo(wait: number): Detail {
  const [seconds, nanos] = [Math.trunc(wait / 1000), Math.trunc((wait % 1000) * 1_000_000)];
  const number =
    (field: number, value: number): Write =>
    (writer) =>
      value !== 0 && writer.tag(field, WireType.Varint).int64(value);
  return { type: "google.rpc.RetryInfo", bytes: bytesOf(message(1, number(1, seconds), number(2, nanos))) };
}

export function badRequest(field: string, description: string): Detail {
  return { type: "google.rpc.BadRequest", bytes: bytesOf(message(1, text(1, field), text(2, description))) };
}

export function preconditionFailure(type: string, subject: string, description: string): Detail {
  const violation = message(1, text(1, type), text(2, subject), text(3, description));
  return { type: "google.rpc.PreconditionFailure", bytes: bytesOf(violation) };
}

/** Returns the google.rpc.Status of an error, which grpc-status-details-bin holds. */
export function encodeStatus(code: number, description: string, details: readonly Detail[]): Buffer {
  const any = details.map((detail) =>
    message(3, text(1, `type.googleapis.com/${detail.type}`), (writer) =>
      writer.tag(2, WireType.LengthDelimited).bytes(detail.bytes),
    ),
  );
  return Buffer.from(bytesOf((writer) => writer.tag(1, WireType.Varint).int32(code), text(2, description), ...any));
}
