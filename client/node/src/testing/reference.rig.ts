import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { create, fromJson, toJson } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";

import type { Expected } from "../client.js";
import type { Reason } from "../errors.js";
import { VerificationSchema } from "../gen/verification/v1/verification_pb.js";
import type { Verification } from "../gen/verification/v1/verification_pb.js";

/** Command is a method of the Go fake with its arguments: see internal/reference. */
export interface Command {
  do: string;
  session?: string;
  consumer?: string;
  reason?: Reason;
  on?: boolean;
  outputs?: Expected;
}

/** Reference is the Go fake and the Go bridge, in a process of their own. */
export interface Reference {
  /** The address of the fake. */
  readonly target: string;
  /** The address of the bridge, `http://…/`. */
  readonly bridge: string;
  run(command: Command): Promise<void>;
  set(v: MessageInitShape<typeof VerificationSchema>): Promise<Verification>;
}

const root = fileURLToPath(new URL("../..", import.meta.url));
/** How long the Go compiler can take, in milliseconds. */
const buildLimit = 300_000;

const directory = await mkdtemp(join(tmpdir(), "reference-"));
after(() => rm(directory, { recursive: true }));
const binary = join(directory, "reference");
let built: Promise<string | undefined> | undefined;

/** Starts the reference, or skips the test if this machine or this copy of the package has no Go for it. In CI it fails instead. */
export async function startReference(t: TestContext): Promise<Reference | undefined> {
  const missing = await (built ??= build());
  if (missing !== undefined) {
    if (process.env["CI"]) throw new Error(missing);
    t.skip(`it compares with the Go client: ${missing}`);
    return undefined;
  }
  const child = spawn(binary, { stdio: ["pipe", "pipe", "inherit"] });
  const exited = new Promise<void>((resolve) => child.on("exit", () => resolve()));
  t.after(async () => {
    child.stdin.end();
    const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await exited;
    clearTimeout(late);
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<Record<string, unknown>> => {
    const line = await lines.next();
    if (line.done) throw new Error("the reference has ended");
    return JSON.parse(line.value) as Record<string, unknown>;
  };
  const ask = async (command: object): Promise<Record<string, unknown>> => {
    child.stdin.write(`${JSON.stringify(command)}\n`);
    const answered = await answer();
    if (answered["error"] !== undefined) throw new Error(String(answered["error"]));
    return answered;
  };
  const { target, bridge } = (await answer()) as { target: string; bridge: string };
  return {
    target,
    bridge,
    run: async (command) => void (await ask(command)),
    set: async (v) => {
      const { verification } = await ask({ do: "set", verification: toJson(VerificationSchema, create(VerificationSchema, v)) });
      return fromJson(VerificationSchema, verification as never);
    },
  };
}

/** Builds the program. It returns why it cannot be built here, or undefined. */
async function build(): Promise<string | undefined> {
  if (!existsSync(join(root, "internal"))) return "the Go sources are not beside this package";
  try {
    await promisify(execFile)("go", ["build", "-o", binary, "./internal/reference"], { cwd: root, timeout: buildLimit });
    return undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "install Go (https://go.dev/dl) to run it";
    throw error;
  }
}
