import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** The metadata key of a google.rpc.Status in the trailers of a call. */
export const statusDetailsKey = "grpc-status-details-bin";

/** The domain of the contract in ErrorInfo. */
export const errorDomain = "verification.v1";

/** Details are the parts of a google.rpc.Status that the contract uses. */
export interface Details {
  /** google.rpc.ErrorInfo, if there is one. */
  readonly info?: { readonly reason: string; readonly domain: string; readonly metadata: Readonly<Record<string, string>> };
  /** The delay of google.rpc.RetryInfo, in milliseconds, if there is one. */
  readonly retryAfter?: number;
}

const typePrefix = "type.googleapis.com/";
const errorInfoType = "google.rpc.ErrorInfo";
const retryInfoType = "google.rpc.RetryInfo";

/**
 * Decodes a google.rpc.Status. It passes over what it does not know. A text that is no google.rpc.Status has no details: it can
 * come from a proxy, and the gRPC code still counts.
 */
export function decodeDetails(status: Uint8Array): Details {
  const details: { -readonly [K in keyof Details]: Details[K] } = {};
  try {
    eachField(status, (field, reader) => {
      if (field !== 3) {
        return false;
      }
      const any = decodeAny(reader.bytes());
      switch (any.type) {
        case errorInfoType:
          details.info = decodeErrorInfo(any.value);
          break;
        case retryInfoType:
          details.retryAfter = decodeRetryInfo(any.value);
          break;
      }
      return true;
    });
  } catch {
    return {};
  }
  return details;
}

/** Calls read for each field of a message. read returns false for a field that it does not read. */
function eachField(message: Uint8Array, read: (field: number, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (wireType !== WireType.LengthDelimited && wireType !== WireType.Varint) {
      reader.skip(wireType, field);
      continue;
    }
    if (!read(field, reader)) {
      reader.skip(wireType, field);
    }
  }
}

function decodeAny(message: Uint8Array): { type: string; value: Uint8Array } {
  const any: { type: string; value: Uint8Array } = { type: "", value: new Uint8Array() };
  eachField(message, (field, reader) => {
    switch (field) {
      case 1:
        any.type = reader.string().split("/").pop() ?? "";
        return true;
      case 2:
        any.value = reader.bytes();
        return true;
    }
    return false;
  });
  return any;
}

function decodeErrorInfo(message: Uint8Array): NonNullable<Details["info"]> {
  const info = { reason: "", domain: "", metadata: {} as Record<string, string> };
  eachField(message, (field, reader) => {
    switch (field) {
      case 1:
        info.reason = reader.string();
        return true;
      case 2:
        info.domain = reader.string();
        return true;
      case 3:
        decodeEntry(reader.bytes(), info.metadata);
        return true;
    }
    return false;
  });
  return info;
}

function decodeEntry(message: Uint8Array, into: Record<string, string>): void {
  const entry = { key: "", value: "" };
  eachField(message, (field, reader) => {
    switch (field) {
      case 1:
        entry.key = reader.string();
        return true;
      case 2:
        entry.value = reader.string();
        return true;
    }
    return false;
  });
  // No assignment: a key such as "__proto__" must be a key like any other.
  Object.defineProperty(into, entry.key, { value: entry.value, enumerable: true, configurable: true, writable: true });
}

/** Decodes the google.protobuf.Duration in a google.rpc.RetryInfo. */
function decodeRetryInfo(message: Uint8Array): number {
  let milliseconds = 0;
  eachField(message, (field, reader) => {
    if (field !== 1) {
      return false;
    }
    eachField(reader.bytes(), (field, reader) => {
      switch (field) {
        case 1:
          milliseconds += Number(reader.int64()) * 1000;
          return true;
        case 2:
          milliseconds += reader.int32() / 1e6;
          return true;
      }
      return false;
    });
    return true;
  });
  return milliseconds;
}

/** Encodes a google.rpc.Status with these details. Tests use it. */
export function encodeDetails(code: number, message: string, details: Details): Uint8Array {
  const status = new BinaryWriter().tag(1, WireType.Varint).int32(code).tag(2, WireType.LengthDelimited).string(message);
  if (details.info !== undefined) {
    const info = new BinaryWriter();
    info.tag(1, WireType.LengthDelimited).string(details.info.reason);
    info.tag(2, WireType.LengthDelimited).string(details.info.domain);
    for (const [key, value] of Object.entries(details.info.metadata)) {
      const entry = new BinaryWriter().tag(1, WireType.LengthDelimited).string(key).tag(2, WireType.LengthDelimited).string(value);
      info.tag(3, WireType.LengthDelimited).bytes(entry.finish());
    }
    writeAny(status, errorInfoType, info.finish());
  }
  if (details.retryAfter !== undefined) {
    const seconds = Math.floor(details.retryAfter / 1000);
    const nanos = Math.round((details.retryAfter - seconds * 1000) * 1e6);
    const delay = new BinaryWriter().tag(1, WireType.Varint).int64(seconds).tag(2, WireType.Varint).int32(nanos);
    const retry = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(delay.finish());
    writeAny(status, retryInfoType, retry.finish());
  }
  return status.finish();
}

function writeAny(status: BinaryWriter, type: string, value: Uint8Array): void {
  const any = new BinaryWriter()
    .tag(1, WireType.LengthDelimited)
    .string(typePrefix + type)
    .tag(2, WireType.LengthDelimited)
    .bytes(value);
  status.tag(3, WireType.LengthDelimited).bytes(any.finish());
}
