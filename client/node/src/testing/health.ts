import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { status } from "@grpc/grpc-js";
import type { Server, ServerWritableStream, ServiceDefinition } from "@grpc/grpc-js";

import { Fault } from "./fault.js";
import { unary } from "./service.js";

/** Serving is a value of grpc.health.v1.HealthCheckResponse.ServingStatus. */
const serving = { unknownService: 3, yes: 1, no: 2 } as const;

/** CheckRequest is a HealthCheckRequest of grpc/health/v1/health.proto. It is an object, because grpc-js takes "" for no message. */
interface CheckRequest {
  /** Field 1. */
  service: string;
}

// A HealthCheckResponse is a ServingStatus in field 1.

const method = (name: string, responseStream: boolean): ServiceDefinition[string] => ({
  path: `/grpc.health.v1.Health/${name}`,
  requestStream: false,
  responseStream,
  requestSerialize: ({ service }: CheckRequest) =>
    Buffer.from(new BinaryWriter().tag(1, WireType.LengthDelimited).string(service).finish()),
  requestDeserialize: (bytes) => {
    const reader = new BinaryReader(bytes);
    const request: CheckRequest = { service: "" };
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field === 1 && type === WireType.LengthDelimited) request.service = reader.string();
      else reader.skip(type, field);
    }
    return request;
  },
  responseSerialize: (value: number) => Buffer.from(new BinaryWriter().tag(1, WireType.Varint).int32(value).finish()),
  responseDeserialize: (bytes) => bytes[1],
});

/** Health is the health service of one address. */
export class Health {
  readonly #names: readonly string[];
  /** The open watches: what sends a change to each. */
  readonly #watches = new Map<ServerWritableStream<CheckRequest, number>, () => void>();
  #ready = true;

  /** Makes the health service for these services. The empty name stands for the whole server. */
  constructor(names: readonly string[]) {
    this.#names = names;
  }

  /** Sets what the service reports. */
  setReady(ready: boolean): void {
    this.#ready = ready;
    for (const send of this.#watches.values()) send();
  }

  /** Ends the open watches. */
  close(): void {
    for (const call of this.#watches.keys()) call.end();
  }

  /** Adds the health service to a server. */
  add(server: Server): void {
    server.addService(
      { check: method("Check", false), watch: method("Watch", true) },
      {
        check: unary(({ service }: CheckRequest) => {
          if (!this.#names.includes(service)) throw new Fault(status.NOT_FOUND, "unknown service");
          return this.#value(service);
        }),
        watch: (call: ServerWritableStream<CheckRequest, number>) => {
          let sent: number | undefined;
          const send = (): void => {
            const value = this.#value(call.request.service);
            if (value !== sent) call.write(value);
            sent = value;
          };
          this.#watches.set(call, send);
          call.on("cancelled", () => this.#watches.delete(call));
          send();
        },
      },
    );
  }

  #value(name: string): number {
    if (!this.#names.includes(name)) return serving.unknownService;
    return this.#ready ? serving.yes : serving.no;
  }
}
