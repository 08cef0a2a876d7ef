/**
 * The program that the conformance kit drives (see client/conformance/README.md). From the top of the repository:
 *
 *     npm --prefix client/node test && go run ./client/conformance -- node client/node/dist/conformance.rig.js
 */
import { createInterface } from "node:readline";
import { inspect } from "node:util";

import { ClosedError, connect, Status, VerificationError } from "./index.js";
import type { Bookmark, Client, Subject, Update, Verification } from "./index.js";
import { heartbeats } from "./watch.js";

/** Command is one line of stdin. */
interface Command {
  readonly id: number;
  readonly do: string;
  readonly client?: string;
  readonly watch?: string;
  readonly addresses?: string[];
  readonly token?: string;
  readonly session?: string;
  readonly reference?: string;
  readonly until_settled?: boolean;
  readonly bookmarks?: boolean;
  readonly resume_from?: string;
  readonly consumer?: string;
  readonly must_exist?: boolean;
  readonly timeout_ms?: number;
  readonly backoff_ms?: number;
  readonly backoff_max_ms?: number;
  readonly heartbeat_ms?: number;
}

/** Reader reads one watch. `gate` is what it waits for before it asks for the next update. */
class Reader {
  readonly stopping = new AbortController();
  #gate: Promise<void> | undefined;
  #open = () => {};

  pause(): void {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
    this.stopping.signal.addEventListener("abort", this.#open, { once: true });
  }

  resume(): void {
    this.#open();
    this.#gate = undefined;
  }

  async passes(): Promise<void> {
    await this.#gate;
  }
}

const settings = { base: 500, max: 3000, heartbeat: heartbeats.usual };
const clients = new Map<string, Client>();
const readers = new Map<string, Reader>();

function write(event: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

const answer = (command: Command, fields: Record<string, unknown> = {}) => write({ event: "answer", id: command.id, ...fields });

/** failure returns the fields of an error of the client. An error of another class is the reason of a signal. */
function failure(error: unknown): Record<string, unknown> {
  if (error instanceof ClosedError) {
    return { code: "CANCELLED", message: error.message };
  }
  if (error instanceof VerificationError) {
    return { code: error.code, reason: error.reason ?? "", retry_after_ms: error.retryAfter, message: error.message };
  }
  const stopped = error instanceof Error && error.name === "AbortError";
  return { code: stopped ? "CANCELLED" : "UNKNOWN", message: inspect(error) };
}

const described = (v: Verification) => ({
  session: v.sessionId,
  revision: v.revision,
  status: Status[v.status],
  outcome_revision: v.outcomeRevision,
});

function report(watch: string, update: Update | Bookmark): void {
  if (update.verification === undefined) {
    write({ event: "bookmark", watch, token: update.resumeToken });
  } else {
    write({ event: "update", watch, ...described(update.verification), reset: update.reset, token: update.resumeToken });
  }
}

const subjectOf = (command: Command): Subject =>
  command.session ? { session: command.session } : { reference: command.reference ?? "" };

/** read reads a watch to its end. */
async function read(client: Client, reader: Reader, command: Command): Promise<void> {
  const watch = command.watch ?? "";
  const { signal } = reader.stopping;
  const options = { signal, heartbeat: settings.heartbeat };
  if (command.do === "consume") {
    await client.consume(
      command.consumer ?? "",
      async (update) => {
        report(watch, update);
        await reader.passes();
      },
      { ...options, mustExist: command.must_exist },
    );
    signal.throwIfAborted();
    return;
  }
  const following = { ...options, bookmarks: command.bookmarks ?? false, resumeFrom: command.resume_from || undefined };
  const updates =
    command.do === "watch_all"
      ? client.watchAll(following)
      : client.watch(subjectOf(command), { ...following, untilSettled: command.until_settled });
  for await (const update of updates) {
    report(watch, update);
    await reader.passes();
  }
}

function begin(client: Client, command: Command): void {
  const reader = new Reader();
  readers.set(command.watch ?? "", reader);
  answer(command);
  read(client, reader, command)
    .then(() => ({ code: "OK" }), failure)
    .then((end) => {
      readers.delete(command.watch ?? "");
      write({ event: "end", watch: command.watch, ...end });
    });
}

/** call makes one call, and resolves to the fields of its answer. */
async function call(client: Client, command: Command): Promise<Record<string, unknown>> {
  const timeout = command.timeout_ms;
  if (command.do === "status") {
    return described(await client.status(subjectOf(command), { timeout }));
  }
  const link = await client.retry(command.session ?? "", { timeout });
  return {
    session: link.verification.sessionId,
    client_secret: link.clientSecret.reveal(),
    url: link.url.reveal(),
    printed: `${link.clientSecret} ${inspect(link)} ${JSON.stringify(link.url)}`,
  };
}

function set(command: Command): void {
  settings.base = command.backoff_ms || settings.base;
  settings.max = Math.max(command.backoff_max_ms || settings.max, settings.base);
  settings.heartbeat = command.heartbeat_ms || settings.heartbeat;
  answer(command, { backoff_ms: settings.base, backoff_max_ms: settings.max, heartbeat_ms: settings.heartbeat });
}

function dial(command: Command): void {
  const { base, max } = settings;
  const token = command.token ? { token: command.token } : {};
  clients.set(command.client ?? "", connect(command.addresses ?? [], { plaintext: true, backoff: { base, max }, ...token }));
  answer(command);
}

/** run does one command. It never waits: commands can come while others run. */
function run(command: Command): void {
  const client = clients.get(command.client ?? "");
  const reader = readers.get(command.watch ?? "");
  switch (command.do) {
    case "set":
      return set(command);
    case "connect":
      return dial(command);
    case "pause":
      reader?.pause();
      return answer(command);
    case "resume":
      reader?.resume();
      return answer(command);
    case "stop":
      reader?.stopping.abort();
      return answer(command);
  }
  if (client === undefined) {
    return answer(command, { code: "CANCELLED", message: "no such client" });
  }
  switch (command.do) {
    case "watch":
    case "watch_all":
    case "consume":
      return begin(client, command);
    case "status":
    case "retry":
      call(client, command).then(
        (fields) => answer(command, fields),
        (error: unknown) => answer(command, failure(error)),
      );
      return;
    case "close":
      client.close();
      clients.delete(command.client ?? "");
      return answer(command);
  }
  answer(command, { unsupported: true });
}

heartbeats.min = 1;
write({ event: "ready", protocol: 1 });
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => run(JSON.parse(line) as Command));
lines.on("close", () => {
  for (const client of clients.values()) {
    client.close();
  }
});
