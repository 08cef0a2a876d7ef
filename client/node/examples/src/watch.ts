import { readFile, writeFile } from "node:fs/promises";
import { connect, Status } from "@verification-status/client";

const stop = new AbortController();
process.once("SIGINT", () => { stop.abort(); });
const client = connect("127.0.0.1:50051", { plaintext: true });

const resumeFrom = await readFile("token.txt", "utf8").catch(() => "");
try {
  for await (const update of client.watch({ reference: "user-42" }, { resumeFrom, signal: stop.signal })) {
    if (update.reset) console.log("changes can be missing: forget what you know of this person");
    const { status, revision, lastError } = update.verification;
    console.log(revision, Status[status], lastError?.reason ?? "");
    await writeFile("token.txt", update.resumeToken); // handled: a later run continues behind it
  }
} catch (error) {
  if (error !== stop.signal.reason) throw error;
} finally {
  client.close();
}
