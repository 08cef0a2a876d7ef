import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";

import type { Transport } from "./attempt.js";
import { defaultBackoff, FullJitter } from "./backoff.js";
import type { Client, Expected, Link, Operator, WaitOptions } from "./client.js";
import { Connections } from "./connections.js";
import { consume } from "./consume.js";
import type { ConsumeOptions, Handler } from "./consume-options.js";
import { Credentials } from "./credentials.js";
import { checkText } from "./error-from.js";
import { ClosedError, InvalidRequestError, VerificationError } from "./errors.js";
import { ComparisonService, type FieldComparison } from "./gen/verification/v1/comparison_pb.js";
import { type Consumer, FeedService } from "./gen/verification/v1/feed_pb.js";
import {
  AllSessionsSchema,
  type GetStatusResponse,
  type HistoryEntry,
  type Person,
  PersonSchema,
  type Verification,
  VerificationService,
  WatchStatusRequestSchema,
} from "./gen/verification/v1/verification_pb.js";
import { iterable } from "./iterable.js";
import { list } from "./list.js";
import type { ListOptions, ListQuery } from "./list-query.js";
import { operatorOf } from "./operator.js";
import type { Backoff, CallOptions, ConnectOptions, RetryOptions, StatusOptions } from "./options.js";
import { Repeats } from "./repeats.js";
import { Secret } from "./secret.js";
import { type Subject, subjectOf } from "./subject.js";
import { parseTarget } from "./target.js";
import { Tokens } from "./token.js";
import { callUnary, retryTimeout, statusTimeout } from "./unary.js";
import type { Bookmark, Update } from "./update.js";
import { Watch } from "./watch.js";
import type { WatchAllOptions, WatchOptions } from "./watch-options.js";
import { type Method, methodOf } from "./wire.js";

const methods = {
  getStatus: methodOf(VerificationService.method.getStatus),
  listVerifications: methodOf(VerificationService.method.listVerifications),
  retryVerification: methodOf(VerificationService.method.retryVerification),
  compareVerifiedOutputs: methodOf(ComparisonService.method.compareVerifiedOutputs),
  listConsumers: methodOf(FeedService.method.listConsumers),
  deleteConsumer: methodOf(FeedService.method.deleteConsumer),
};

/**
 * Returns a client for a target: `host:port`, or `dns:///host:port`, or several of them. All addresses of all targets share the
 * calls; those that are not ready get none while others are. Other forms are `ipv4:1.2.3.4:443,1.2.3.5:443`, `ipv6:[::1]:443` and
 * `unix:/path`. Close the client in the end: its connections keep the process running.
 *
 * Connections use TLS with Node's certificate authorities, unless an option says otherwise. `connect` does not connect: a wrong
 * address shows in the first call. It throws a TypeError if a target has another form or options contradict each other, and the
 * error of a file that cannot be read. The variables of HTTP proxies in the environment have no effect.
 */
export function connect(target: string | readonly string[], options: ConnectOptions = {}): Client {
  const targets = (typeof target === "string" ? [target] : target).map(parseTarget);
  if (targets.length === 0) {
    throw new TypeError("connect needs a target");
  }
  const credentials = new Credentials(options);
  for (const endpoint of targets.flatMap((target) => target.fixed ?? [])) {
    credentials.check(endpoint);
  }
  const backoff = backoffOf(options.backoff);
  const connections = new Connections(targets, credentials, backoff);
  return new ConnectedClient({ connections, tokens: new Tokens(options.token, credentials) }, backoff);
}

function backoffOf({ base = defaultBackoff.base, max = defaultBackoff.max }: Backoff = {}): FullJitter {
  if (!(base > 0 && max >= base)) {
    throw new TypeError(`backoff: base ${base} and max ${max}: base must be positive, max not less`);
  }
  return new FullJitter(base, max);
}

class ConnectedClient implements Client {
  readonly operator: Operator;
  readonly #transport: Transport;
  readonly #backoff: FullJitter;
  readonly #repeats = new Repeats();
  readonly #closing = new AbortController();

  constructor(transport: Transport, backoff: FullJitter) {
    this.#transport = transport;
    this.#backoff = backoff;
    this.operator = operatorOf((method, request, options) => this.#call(method, request, options));
  }

  async status(subject: Subject, options: StatusOptions = {}): Promise<Verification> {
    return (await this.#getStatus(subject, options)).verification;
  }

  async history(subject: Subject, options: StatusOptions = {}): Promise<{ verification: Verification; history: HistoryEntry[] }> {
    const { verification, history } = await this.#getStatus(subject, options, { includeHistory: true });
    return { verification, history };
  }

  async person(reference: string, options: StatusOptions = {}): Promise<{ verification: Verification; person: Person }> {
    const { verification, person } = await this.#getStatus({ reference }, options, { includePerson: true });
    return { verification, person: person ?? create(PersonSchema) };
  }

  list(query: ListQuery, options: ListOptions = {}): AsyncIterable<Verification> {
    const readPage = (request: MessageShape<typeof methods.listVerifications.input>, options: CallOptions) =>
      this.#call(methods.listVerifications, request, options);
    return iterable([options.signal, this.#closing.signal], (signal) => list(readPage, this.#backoff, query, options, signal));
  }

  watch(subject: Subject, options?: WatchOptions & { readonly bookmarks?: false | undefined }): AsyncIterable<Update>;
  watch(subject: Subject, options?: WatchOptions): AsyncIterable<Update | Bookmark>;
  watch(subject: Subject, options: WatchOptions = {}): AsyncIterable<Update | Bookmark> {
    return this.#watch(options, () =>
      create(WatchStatusRequestSchema, { subject: subjectOf(subject), untilSettled: options.untilSettled ?? false }),
    );
  }

  watchAll(options?: WatchAllOptions & { readonly bookmarks?: false | undefined }): AsyncIterable<Update>;
  watchAll(options?: WatchAllOptions): AsyncIterable<Update | Bookmark>;
  watchAll(options: WatchAllOptions = {}): AsyncIterable<Update | Bookmark> {
    return this.#watch(options, () => {
      const value = create(AllSessionsSchema, {
        outcomesOnly: options.outcomesOnly ?? false,
        statuses: [...(options.statuses ?? [])],
      });
      return create(WatchStatusRequestSchema, { subject: { case: "allSessions", value } });
    });
  }

  async waitSettled(subject: Subject, options: WaitOptions = {}): Promise<Verification> {
    let last: Verification | undefined;
    for await (const { verification } of this.watch(subject, { ...options, untilSettled: true, bookmarks: false })) {
      last = verification;
    }
    return last ?? missing();
  }

  async retry(sessionId: string, options: RetryOptions = {}): Promise<Link> {
    const { replaceClosed = false, returnUrl = "", ephemeralKeyVersion = "", account = "" } = options;
    checkText("the session id, the return URL, the version or the account", sessionId, returnUrl, ephemeralKeyVersion, account);
    const request = create(methods.retryVerification.input, { sessionId, replaceClosed, returnUrl, ephemeralKeyVersion, account });
    const response = await this.#call(methods.retryVerification, request, options, retryTimeout);
    return {
      verification: response.verification ?? missing(),
      clientSecret: new Secret(response.clientSecret),
      url: new Secret(response.url),
      ephemeralKeySecret: new Secret(response.ephemeralKeySecret),
    };
  }

  async compare(sessionId: string, expected: Expected, options: CallOptions = {}): Promise<FieldComparison[]> {
    const {
      firstName = "",
      lastName = "",
      dateOfBirth = "",
      postalCode = "",
      country = "",
      idNumber = "",
      email = "",
      phone = "",
    } = expected;
    const fields = { firstName, lastName, dateOfBirth, postalCode, country, idNumber, email, phone };
    checkText("the session id or a field", sessionId, ...Object.values(fields));
    const request = create(methods.compareVerifiedOutputs.input, { sessionId, ...fields });
    return (await this.#call(methods.compareVerifiedOutputs, request, options, retryTimeout)).fields;
  }

  consume(name: string, handle: Handler, options: ConsumeOptions = {}): Promise<void> {
    return consume({ transport: this.#transport, backoff: this.#backoff, closed: this.#closing.signal }, name, handle, options);
  }

  async listConsumers(options: CallOptions = {}): Promise<Consumer[]> {
    return (await this.#call(methods.listConsumers, create(methods.listConsumers.input), options)).consumers;
  }

  async deleteConsumer(name: string, options: CallOptions = {}): Promise<void> {
    checkText("the name of the consumer", name);
    await this.#call(methods.deleteConsumer, create(methods.deleteConsumer.input, { consumer: name }), options);
  }

  async ready(options: CallOptions = {}): Promise<void> {
    try {
      // A request without a subject: the service refuses it with a reason of its own, before it reads from Redis or Stripe.
      await this.#call(methods.getStatus, create(methods.getStatus.input), options, statusTimeout, this.#repeats);
    } catch (error) {
      if (!(error instanceof InvalidRequestError && error.reason === "INVALID_REQUEST")) {
        throw error;
      }
    }
  }

  close(): void {
    this.#closing.abort(new ClosedError({ code: "CANCELLED", message: "the client is closed" }));
    this.#transport.connections.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  async #getStatus(
    subject: Subject,
    { minRevision = 0, account = "", ...options }: StatusOptions,
    include: { includeHistory?: boolean; includePerson?: boolean } = {},
  ): Promise<GetStatusResponse & { verification: Verification }> {
    checkText("the account", account);
    const request = create(methods.getStatus.input, { subject: subjectOf(subject), minRevision, account, ...include });
    const response = await this.#call(methods.getStatus, request, options, statusTimeout, this.#repeats);
    return { ...response, verification: response.verification ?? missing() };
  }

  #watch(
    options: WatchOptions | WatchAllOptions,
    request: () => MessageShape<typeof WatchStatusRequestSchema>,
  ): AsyncIterable<Update | Bookmark> {
    return iterable([options.signal, this.#closing.signal], (signal) => {
      const watch = new Watch(this.#transport, this.#backoff, request(), options);
      watch.token = options.resumeFrom ?? "";
      watch.bookmarks = options.bookmarks ?? false;
      return watch.run(signal);
    });
  }

  #call<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageShape<I>,
    options: CallOptions,
    defaultTimeout = statusTimeout,
    repeats?: Repeats,
  ): Promise<MessageShape<O>> {
    return callUnary(this.#transport, method, request, options, {
      defaultTimeout,
      closed: this.#closing.signal,
      ...(repeats && { repeats }),
    });
  }
}

/** Throws the error of an answer without a session: no server of the contract makes one. */
function missing(): never {
  throw new VerificationError({ code: "INTERNAL", message: "the answer has no session" });
}
