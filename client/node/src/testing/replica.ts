import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo, Server as Listener, Socket } from "node:net";

import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { ServerInterceptor } from "@grpc/grpc-js";

import { VerificationService } from "../gen/verification/v1/verification_pb.js";
import { fault } from "./fault.js";
import { Health } from "./health.js";
import { addServices } from "./service.js";
import type { State } from "./state.js";

/** FakeServerOptions say how a {@link FakeServer} serves. */
export interface FakeServerOptions {
  /** Where it listens, as `host:port`, such as `[::1]:0`. Default `127.0.0.1:0`: a free port. */
  readonly address?: string;
  /** The credentials of grpc-js, for TLS. Default: plain text. */
  readonly credentials?: ServerCredentials;
  /** Interceptors of grpc-js, such as one that checks the token of calls. */
  readonly interceptors?: readonly ServerInterceptor[];
}

/** How long a drain waits for calls that are under way, in milliseconds. */
const drainTime = 5_000;

/** Replica is one address of a {@link FakeServer}, as another replica of the service has. */
export interface Replica {
  /** The address, as `host:port`. */
  readonly target: string;
  /** Serves at the address again after `stop` or `drain`. If it is served already, it does nothing. It rejects if the port is taken. */
  start(): Promise<void>;
  /** Cuts all connections and stops listening, as a crash does. */
  stop(): Promise<void>;
  /**
   * Stops as the service does when its process is told to end: it reports itself as not ready, ends its open watches with DRAINING,
   * takes no new connections, and waits up to 5 s for calls that are under way.
   */
  drain(): Promise<void>;
  /** Sets what the health service reports. Clients send no new calls to an address that is not ready. Open streams continue. */
  setReady(ready: boolean): void;
}

/** Running is what serves an address. */
interface Running {
  readonly listener: Listener;
  /** Resolves when the listener and all connections are closed. */
  readonly closed: Promise<unknown>;
  readonly sockets: Set<Socket>;
  readonly server: Server;
}

/** LocalReplica is a Replica at an address of this machine. */
export class LocalReplica implements Replica {
  readonly #state: State;
  readonly #options: FakeServerOptions;
  #address: string;
  #health = new Health(["", VerificationService.typeName]);
  #running: Running | undefined;

  /** Makes a replica that does not serve yet. */
  constructor(state: State, address: string, options: FakeServerOptions) {
    this.#state = state;
    this.#address = address;
    this.#options = options;
  }

  get target(): string {
    return this.#address;
  }

  async start(): Promise<void> {
    if (this.#running !== undefined) return;
    const server = new Server({ interceptors: [...(this.#options.interceptors ?? [])] });
    const injector = server.createConnectionInjector(this.#options.credentials ?? ServerCredentials.createInsecure());
    addServices(server, this.#state, this);
    this.#health = new Health(["", VerificationService.typeName]);
    this.#health.add(server);
    const sockets = new Set<Socket>();
    const listener = createServer({ noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket)).on("error", () => {}); // a peer that is gone is no fault
      injector.injectConnection(socket);
    });
    const closed = new Promise((resolve) => listener.once("close", resolve));
    this.#running = { listener, closed, sockets, server };
    const colon = this.#address.lastIndexOf(":");
    const host = this.#address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
    listener.listen(Number(this.#address.slice(colon + 1)), host);
    try {
      await once(listener, "listening");
    } catch (error) {
      this.#running = undefined;
      throw error;
    }
    const { address, family, port } = listener.address() as AddressInfo;
    this.#address = family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
  }

  async stop(): Promise<void> {
    if (this.#running !== undefined) await this.#end(this.#running);
  }

  async drain(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.setReady(false);
    this.#health.close();
    this.#state.cutStreams(fault("DRAINING"), this);
    running.listener.close();
    // The ends of the streams need some rounds of the event loop. Node 24 closes a session without waiting for them.
    for (let n = 0; n < 10; n++) await new Promise((resolve) => setImmediate(resolve));
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, drainTime);
      running.server.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    await this.#end(running);
  }

  async #end(running: Running): Promise<void> {
    if (this.#running === running) this.#running = undefined;
    running.listener.close();
    for (const socket of running.sockets) socket.destroy();
    await running.closed;
    running.server.forceShutdown();
  }

  setReady(ready: boolean): void {
    this.#health.setReady(ready);
  }
}
