import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const dist = dirname(fileURLToPath(import.meta.url));
const root = dirname(dist);

/** What the examples take from the program around them. */
const around = `
declare const client: import("@verification-status/client").Client;
declare const Status: typeof import("@verification-status/client").Status;
declare const app: { get(path: string, route: (request: import("node:http").IncomingMessage, response: import("node:http").ServerResponse) => unknown): void };
declare const events: (request: import("node:http").IncomingMessage) => Promise<Response>;
declare const send: typeof import("@verification-status/client/sse").send;
declare function userOf(cookie: string | null | undefined): Promise<string | undefined>;
declare function greet(client: import("@verification-status/client").Client, sessionId: string): Promise<void>;
`;

const config = {
  compilerOptions: {
    target: "es2022",
    module: "nodenext",
    lib: ["es2023", "esnext.disposable"],
    types: ["node"],
    strict: true,
    noEmit: true,
    rootDir: root,
  },
  include: ["."],
};

test("compiles the examples of the doc comments", async (t) => {
  const directory = join(dist, "examples");
  await mkdir(directory, { recursive: true });
  t.after(() => rm(directory, { recursive: true }));
  let count = 0;
  for (const name of await readdir(join(root, "src"), { recursive: true })) {
    if (!/^(?!gen\/).*(?<!\.test)\.ts$/.test(name)) continue;
    for (const [, example = ""] of (await readFile(join(root, "src", name), "utf8")).matchAll(/^ *\* ```ts\n(.*?)^ *\* ```$/gms)) {
      const text = example.replaceAll(/^ *\* ?/gm, "");
      await writeFile(join(directory, `${name.replaceAll(/\W/g, "_")}_${++count}.ts`), `${text}\nexport {};\n`);
    }
  }
  assert(count > 0, "there is no example");
  await writeFile(join(directory, "around.d.ts"), around);
  await writeFile(join(directory, "tsconfig.json"), JSON.stringify(config));
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  await promisify(execFile)(process.execPath, [compiler, "--project", directory], { timeout: 60_000 }).catch(
    (error: { stdout?: string }) => assert.fail(error.stdout ?? String(error)),
  );
  t.diagnostic(`${count} examples`);
});
