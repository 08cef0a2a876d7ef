import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { status } from "@grpc/grpc-js";
import type { Server, ServerWritableStream, ServiceDefinition } from "@grpc/grpc-js";

import { Fault } from "./fault.js";
import { unary } from "./service.js";

/** Serving is a value of grpc.health.v1.HealthCheckResponse.ServingStatus. */
const serving = { unknownService: 3, yes: 1, no: 2 } as const;

// Messages of grpc/health/v1/health.proto: a request is the name of a service (field 1), a response a ServingStatus (field 1).

const method = (name: string, responseStream: boolean): ServiceDefinition[string] => ({
  path: `/grpc.health.v1.Health/${name}`,
  requestStream: false,
  responseStream,
  requestSerialize: (service: string) => Buffer.from(new BinaryWriter().tag(1, WireType.LengthDelimited).string(service).finish()),
  requestDeserialize: (bytes) => {
    const reader = new BinaryReader(bytes);
    let service = "";
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field === 1 && type === WireType.LengthDelimited) service = reader.string();
      else reader.skip(type, field);
    }
    return service;
  },
  responseSerialize: (value: number) => Buffer.from(new BinaryWriter().tag(1, WireType.Varint).int32(value).finish()),
  responseDeserialize: (bytes) => bytes[1],
});

/** Health is the health service of one address. */
export class Health {
  readonly #names: readonly string[];
  /** The open watches: what sends a change to each. */
  readonly #watches = new Map<ServerWritableStream<string, number>, () => void>();
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
        check: unary((name: string) => {
          if (!this.#names.includes(name)) throw new Fault(status.NOT_FOUND, "unknown service");
          return this.#value(name);
        }),
        watch: (call: ServerWritableStream<string, number>) => {
          let sent: number | undefined;
          const send = (): void => {
            const value = this.#value(call.request);
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
