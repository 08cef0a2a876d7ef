import type { MessageInitShape } from "@bufbuild/protobuf";

import type { VerificationSchema } from "./gen/verification/v1/verification_pb.js";
import { type Behaviour, Failure, type Stream } from "./server.rig.js";

type Sent = MessageInitShape<typeof VerificationSchema>;

/**
 * Feed is the change feed of a test's server, with one consumer. A token is "<consumer>:<position>". It is served to one stream at
 * a time, as the contract says.
 */
export class Feed {
  /** As sent, from position 1. */
  readonly changes: Sent[] = [];
  /** Every position that was acknowledged. */
  readonly acknowledged: number[] = [];
  /** Every request's token. */
  readonly tokens: string[] = [];
  /** Whether the requests required that the consumer exists. */
  readonly mustExist: boolean[] = [];
  /** The name in tokens: another one is another consumer of the same name. */
  id = "c";
  /** Whether the consumer exists. */
  exists = false;
  /** The failures of the next acknowledgements, or of the next streams. */
  readonly failAcknowledge: Failure[] = [];
  readonly failStream: Failure[] = [];
  /** The failure of each list of consumers. */
  failList: Failure | undefined;
  /** Whether the server is older than consumers. */
  isOlder = false;
  #open: { readonly stream: Stream; position: number } | undefined;

  get position(): number {
    return this.acknowledged.at(-1) ?? 0;
  }

  /** Whether a stream is open. */
  get isServed(): boolean {
    return this.#open !== undefined;
  }

  /** Adds a change of a session. */
  add(session: string, revision: number): void {
    this.changes.push({ sessionId: session, revision, outcomeRevision: revision, outcomeId: `${session}/${revision}` });
    this.#send();
  }

  /** Moves the open stream over changes that a filter passes over, and sends a heartbeat. */
  beat(passed: number): void {
    if (this.#open !== undefined) {
      this.#open.position += passed;
      this.#open.stream.bookmark(`${this.id}:${this.#open.position}`);
    }
  }

  /** Ends the open stream. */
  cut(failure = new Failure("UNAVAILABLE")): void {
    this.#open?.stream.fail(failure);
    this.#open = undefined;
  }

  /** Makes the consumer busy with the stream of another instance, until the returned function is called. */
  occupy(): () => void {
    this.#open = { stream: { send: () => true } as unknown as Stream, position: this.changes.length };
    return () => {
      this.#open = undefined;
    };
  }

  behaviour(): Behaviour {
    return {
      watchStatus: (stream) => this.#watch(stream),
      listConsumers: () => {
        if (this.failList !== undefined) {
          throw this.failList;
        }
        const acknowledged = this.acknowledged.length > 0 ? { acknowledgeTime: { seconds: 1n } } : {};
        return { consumers: [{ name: "mailer", ...acknowledged }] };
      },
      acknowledgeChanges: ({ resumeToken }) => {
        const failure = this.failAcknowledge.shift();
        if (failure) {
          throw failure;
        }
        this.acknowledged.push(Math.max(this.#parse(resumeToken), this.position));
        return {};
      },
    };
  }

  #watch(stream: Stream): void {
    const { subject, resumeToken } = stream.request;
    const failure = this.failStream.shift();
    if (failure || subject.case !== "allSessions") {
      stream.fail(failure ?? new Failure("INVALID_ARGUMENT", "INVALID_REQUEST"));
      return;
    }
    if (this.isOlder) {
      stream.bookmark("older");
      return;
    }
    this.tokens.push(resumeToken);
    this.mustExist.push(subject.value.mustExist);
    if (!this.exists && subject.value.mustExist) {
      stream.fail(new Failure("NOT_FOUND", "CONSUMER_NOT_FOUND"));
      return;
    }
    this.exists = true;
    if (this.#open !== undefined) {
      stream.fail(new Failure("ABORTED", "CONSUMER_BUSY", { retryAfter: 10 }));
      return;
    }
    try {
      const open = { stream, position: resumeToken === "" ? this.position : this.#parse(resumeToken) };
      this.#open = open;
      void stream.left.then(() => {
        if (this.#open === open) {
          this.#open = undefined;
        }
      });
      stream.bookmark(`${this.id}:${open.position}`, subject.value.consumer);
      this.#send();
    } catch (error) {
      stream.fail(error as Failure);
    }
  }

  #send(): void {
    const open = this.#open;
    while (open !== undefined && open.position < this.changes.length) {
      const change = this.changes[open.position++];
      open.stream.send(change ?? {}, { resumeToken: `${this.id}:${open.position}` });
    }
  }

  #parse(token: string): number {
    const [id, position] = token.split(":");
    if (id !== this.id) {
      throw new Failure("INVALID_ARGUMENT", "RESUME_TOKEN_INVALID");
    }
    return Number(position);
  }
}
