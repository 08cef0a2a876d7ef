import type { TestContext } from "node:test";

import { create, toJson } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, DescService, JsonValue, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Client, Metadata, credentials, status } from "@grpc/grpc-js";
import type { ClientReadableStream, MethodDefinition, ServiceError } from "@grpc/grpc-js";

import { definitionOf } from "./wire.js";

/** Answer is what came of a call: the code and the details of an error, or the responses as JSON. */
export interface Answer {
  code: string;
  details: unknown[];
  responses: JsonValue[];
}

/** How long a call and a stream of a test can take, in milliseconds. */
const callLimit = 30_000;
const streamLimit = 300_000;

/** Wire is a bare client of grpc-js: what is tested with it is the wire. */
export class Wire {
  readonly #client: Client;

  constructor(t: TestContext, target: string) {
    this.#client = new Client(target, credentials.createInsecure());
    t.after(() => this.#client.close());
  }

  /** Makes a unary call. */
  async call<I extends DescMessage>(
    method: DescMethod & { input: I },
    init: MessageInitShape<I>,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const { path, requestSerialize, responseDeserialize } = definition(method);
    const request = create(method.input, init);
    return new Promise((resolve) => {
      const done = (error: ServiceError | null, response: unknown): void =>
        resolve(error === null ? answerOf([toJson(method.output, response as MessageShape<DescMessage>)]) : answerOf([], error));
      this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadataOf(headers),
        within(callLimit),
        done,
      );
    });
  }

  /** Opens a stream. */
  open<I extends DescMessage>(method: DescMethod & { input: I }, init: MessageInitShape<I>): WireStream {
    const { path, requestSerialize, responseDeserialize } = definition(method);
    const request = create(method.input, init);
    return new WireStream(
      method,
      this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, within(streamLimit)),
    );
  }
}

/** WireStream is one open stream of responses. */
export class WireStream {
  readonly #method: DescMethod;
  readonly #call: ClientReadableStream<unknown>;
  readonly #responses: AsyncIterator<unknown>;

  constructor(method: DescMethod, call: ClientReadableStream<unknown>) {
    this.#method = method;
    this.#call = call;
    this.#responses = call[Symbol.asyncIterator]();
  }

  /** Reads this many responses, or fewer and the end. */
  async read(count: number): Promise<Answer> {
    const responses: JsonValue[] = [];
    try {
      while (responses.length < count) {
        const next = await this.#responses.next();
        if (next.done) {
          responses.push("the end");
          break;
        }
        responses.push(toJson(this.#method.output, next.value as MessageShape<DescMessage>));
      }
    } catch (error) {
      return answerOf(responses, error as ServiceError);
    }
    return answerOf(responses);
  }

  close(): void {
    this.#call.on("error", () => {});
    this.#call.cancel();
  }
}

function within(limit: number): { deadline: number } {
  return { deadline: Date.now() + limit };
}

function metadataOf(headers: Record<string, string>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

function definition(method: DescMethod): MethodDefinition<unknown, unknown> {
  return definitionOf(method.parent as DescService)[method.localName] as MethodDefinition<unknown, unknown>;
}

function answerOf(responses: JsonValue[], error?: ServiceError): Answer {
  const code = error?.code ?? status.OK;
  const [bytes] = error?.metadata?.get("grpc-status-details-bin") ?? [];
  return { code: status[code] ?? String(code), details: bytes === undefined ? [] : detailsOf(bytes as Buffer), responses };
}

/** Returns the details in a google.rpc.Status. */
function detailsOf(bytes: Uint8Array): unknown[] {
  return (read(bytes)[3] ?? []).map((any) => {
    const { 1: type = [], 2: value = [] } = read(any as Uint8Array);
    return [textOf(type[0]), contentOf(textOf(type[0]), value[0] as Uint8Array)];
  });
}

/** Returns a detail without what differs by nature: texts for people, and how long RetryInfo waits. */
function contentOf(type: string, bytes: Uint8Array): unknown {
  const fields = read(bytes);
  const first = (fields[1] ?? []).map((each) => (type.endsWith("ErrorInfo") ? textOf(each) : read(each as Uint8Array)));
  switch (type.replace(/.*\./, "")) {
    case "ErrorInfo": {
      const metadata = (fields[3] ?? []).map((entry) => read(entry as Uint8Array));
      return [
        ...first,
        textOf(fields[2]?.[0]),
        ...metadata.map((entry) => `${textOf(entry[1]?.[0])}=${textOf(entry[2]?.[0])}`).sort(),
      ];
    }
    case "RetryInfo":
      return (first[0] as Fields)[1] !== undefined || (first[0] as Fields)[2] !== undefined;
    case "BadRequest":
      return (first as Fields[]).map((violation) => [textOf(violation[1]?.[0]), textOf(violation[2]?.[0]) !== ""]);
    default:
      return (first as Fields[]).map((violation) => [
        textOf(violation[1]?.[0]),
        textOf(violation[2]?.[0]),
        textOf(violation[3]?.[0]) !== "",
      ]);
  }
}

type Fields = Record<number, (Uint8Array | string)[]>;

/** Returns the fields of a message by their numbers, without a schema. */
function read(bytes: Uint8Array): Fields {
  const fields: Fields = {};
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    (fields[field] ??= []).push(type === WireType.LengthDelimited ? reader.bytes() : String(reader.int64()));
  }
  return fields;
}

function textOf(value: Uint8Array | string | undefined): string {
  return value === undefined ? "" : typeof value === "string" ? value : Buffer.from(value).toString();
}
