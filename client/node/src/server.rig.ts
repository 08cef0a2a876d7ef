import { create, type DescMessage, type DescMethod, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { Metadata, Server as GrpcServer, ServerCredentials, status as grpcStatus } from "@grpc/grpc-js";
import type { ChannelOptions, handleUnaryCall, ServerWritableStream } from "@grpc/grpc-js";

import type { Code, Reason } from "./errors.js";
import { ComparisonService } from "./gen/verification/v1/comparison_pb.js";
import { FeedService } from "./gen/verification/v1/feed_pb.js";
import { OperatorService } from "./gen/verification/v1/operator_pb.js";
import {
  VerificationSchema,
  VerificationService,
  type WatchStatusRequest,
  type WatchStatusResponse,
  WatchStatusResponseSchema,
} from "./gen/verification/v1/verification_pb.js";
import { encodeDetails, errorDomain, statusDetailsKey } from "./status-details.js";
import { decoder, encode, methodOf } from "./wire.js";

/** Failure is the error that a handler of a test throws. */
export class Failure extends Error {
  readonly code: number;
  readonly details: string;
  readonly metadata = new Metadata();

  /** Has the reason of the service, or none: then it could come from a proxy. */
  constructor(
    code: Code,
    reason?: Reason,
    more: { readonly retryAfter?: number; readonly metadata?: Record<string, string> } = {},
  ) {
    super(code);
    this.code = grpcStatus[code];
    this.details = `test: ${reason ?? code}`;
    const info = reason && { reason: `ERROR_REASON_${reason}`, domain: errorDomain, metadata: more.metadata ?? {} };
    const bytes = encodeDetails(this.code, this.details, {
      ...(info && { info }),
      ...(more.retryAfter !== undefined && { retryAfter: more.retryAfter }),
    });
    this.metadata.set(statusDetailsKey, Buffer.from(bytes));
  }
}

/** Stream is one open WatchStatus. */
export class Stream {
  readonly request: WatchStatusRequest;
  readonly metadata: Metadata;
  /** Resolves when the client has left. */
  readonly left: Promise<void>;
  readonly #call: ServerWritableStream<WatchStatusRequest, WatchStatusResponse>;

  constructor(call: ServerWritableStream<WatchStatusRequest, WatchStatusResponse>) {
    this.#call = call;
    this.request = call.request;
    this.metadata = call.metadata;
    this.left = new Promise((resolve) => call.on("cancelled", () => resolve()));
    call.on("error", () => {});
  }

  /**
   * Sends one revision of a session, with the token "t<revision>" if none is given. It returns false if the client does not read.
   */
  send(
    verification: MessageInitShape<typeof VerificationSchema>,
    more: MessageInitShape<typeof WatchStatusResponseSchema> = {},
  ): boolean {
    const sent = create(VerificationSchema, verification);
    return this.#call.write(create(WatchStatusResponseSchema, { resumeToken: `t${sent.revision}`, verification: sent, ...more }));
  }

  /** Calls a function each time the client reads on after send has returned false. */
  onDrain(f: () => void): void {
    this.#call.on("drain", f);
  }

  /** Sends a response without a verification. */
  bookmark(resumeToken: string, consumer = ""): void {
    this.#call.write(create(WatchStatusResponseSchema, { resumeToken, consumer }));
  }

  fail(failure: Failure): void {
    this.#call.emit("error", failure);
  }

  end(): void {
    this.#call.end();
  }
}

type Unary<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  metadata: Metadata,
) => MessageInitShape<O> | Promise<MessageInitShape<O>>;

type Handlers<
  M extends Record<string, { readonly input: DescMessage; readonly output: DescMessage; readonly methodKind: string }>,
> = {
  [K in keyof M as M[K]["methodKind"] extends "unary" ? K : never]?: Unary<M[K]["input"], M[K]["output"]>;
};

/** Behaviour is what a test's server answers. A call without a function is UNIMPLEMENTED. */
export interface Behaviour
  extends
    Handlers<typeof VerificationService.method>,
    Handlers<typeof FeedService.method>,
    Handlers<typeof OperatorService.method>,
    Handlers<typeof ComparisonService.method> {
  /** Is called for each WatchStatus with its number, from 1. */
  watchStatus?: (stream: Stream, number: number) => void;
  /** The answer of the health service, or undefined: it is not there. */
  health?: () => "SERVING" | "NOT_SERVING";
}

/** Server is a gRPC server whose answers a test writes. */
export class Server {
  readonly behaviour: Behaviour;
  readonly port: number;
  /** The number of WatchStatus so far. */
  streams = 0;
  readonly #server: GrpcServer;

  private constructor(server: GrpcServer, behaviour: Behaviour, port: number) {
    this.#server = server;
    this.behaviour = behaviour;
    this.port = port;
  }

  /** Starts a server at a free port, or at a given one. */
  static async start(
    behaviour: Behaviour,
    { port = 0, options = {} }: { port?: number; options?: ChannelOptions } = {},
  ): Promise<Server> {
    const server = new GrpcServer(options);
    const bound = await bind(server, port);
    const started = new Server(server, behaviour, bound);
    for (const service of [VerificationService, FeedService, OperatorService, ComparisonService]) {
      started.#addService(service);
    }
    if (behaviour.health !== undefined) {
      started.#addHealth(behaviour.health);
    }
    return started;
  }

  get target(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Ends all connections at once. */
  stop(): void {
    this.#server.forceShutdown();
  }

  /** Takes no new call, and resolves when all calls have ended. */
  drain(): Promise<void> {
    return new Promise((resolve) => this.#server.tryShutdown(() => resolve()));
  }

  #addService(service: typeof VerificationService | typeof FeedService | typeof OperatorService | typeof ComparisonService): void {
    for (const descriptor of service.methods) {
      const method = methodOf(descriptor);
      const serialize = (message: MessageShape<DescMessage>): Buffer => encode(method.output, message);
      const deserialize = decoder(method.input);
      if (descriptor.methodKind === "unary") {
        this.#server.register(method.path, this.#answer(descriptor) as never, serialize, deserialize, "unary");
      } else {
        this.#server.register(method.path, this.#open as never, serialize, deserialize, "serverStream");
      }
    }
  }

  readonly #open = (call: ServerWritableStream<WatchStatusRequest, WatchStatusResponse>): void => {
    this.streams++;
    this.behaviour.watchStatus?.(new Stream(call), this.streams);
  };

  #answer(method: DescMethod): handleUnaryCall<MessageShape<DescMessage>, MessageShape<DescMessage>> {
    return async (call, done) => {
      const handler = this.behaviour[method.localName as keyof Behaviour] as Unary<DescMessage, DescMessage> | undefined;
      try {
        if (handler === undefined) {
          throw new Failure("UNIMPLEMENTED");
        }
        done(null, create(method.output, await handler(call.request, call.metadata)));
      } catch (error) {
        done(error as Failure);
      }
    };
  }

  #addHealth(health: () => "SERVING" | "NOT_SERVING"): void {
    const open = (call: ServerWritableStream<Buffer, Buffer>): void => {
      call.on("error", () => {});
      call.write(Buffer.from([8, health() === "SERVING" ? 1 : 2])); // field 1
    };
    const same = (bytes: Buffer): Buffer => bytes;
    this.#server.register("/grpc.health.v1.Health/Watch", open, same, same, "serverStream");
  }
}

/** Binds a server to a port. A port that was just used can be free a moment later. */
async function bind(server: GrpcServer, port: number): Promise<number> {
  const deadline = performance.now() + 5000;
  for (;;) {
    try {
      return await new Promise<number>((resolve, reject) => {
        server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, port) =>
          error ? reject(error) : resolve(port),
        );
      });
    } catch (error) {
      if (port === 0 || performance.now() > deadline) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
