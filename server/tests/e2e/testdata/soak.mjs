// Follows sessions with the npm package, and checks each update: no hole, no repeat, no reset. Settings: NGINX and SERVERS (addresses),
// SESSIONS (how many). It obeys lines of stdin, and answers each by a line of stdout:
//   report   how many updates came, and what was wrong
//   collect  the same, and what is in use after a collection of garbage
//   read     the same, and lets the reader that has stopped read on
import { createInterface } from "node:readline";
import { connect } from "@verification-status/client";

const { NGINX, SERVERS, SESSIONS } = process.env;
const clients = [connect(NGINX, { plaintext: true }), connect(SERVERS.split(","), { plaintext: true })];
const seen = { updates: 0, all: 0, breaks: 0, reasons: {}, wrong: [] };
const wrong = (text) => seen.wrong.length < 20 && seen.wrong.push(text);
const onInterruption = (error) => {
  seen.breaks++;
  const reason = `${error.code} ${error.reason ?? ""} ${error.message}`.replace(/\d+/g, "N").slice(0, 200);
  seen.reasons[reason] = (seen.reasons[reason] ?? 0) + 1;
  if (error.code === "RESOURCE_EXHAUSTED" || /Bandwidth exhausted/.test(error.message)) wrong(`interrupted: ${error.message}`); // so grpc-js says ENHANCE_YOUR_CALM
};

async function follow(n) {
  const session = `vs_Soak${n}`;
  let last = 0;
  for await (const { verification, reset } of clients[n % clients.length].watch({ session }, { onInterruption })) {
    if (reset || verification.revision !== last + 1) wrong(`${session}: revision ${verification.revision} after ${last}, reset ${reset}`);
    last = verification.revision;
    seen.updates++;
  }
}

let readOn;
async function stopReading() {
  const reading = new Promise((resolve) => (readOn = resolve));
  const revisions = new Map();
  for await (const { verification } of clients[1].watchAll({ onInterruption })) {
    await reading;
    const { sessionId, revision } = verification;
    const last = revisions.get(sessionId) ?? 1;
    if (revision > last + 1) wrong(`the reader that had stopped: ${sessionId}: revision ${revision} after ${last}`);
    if (revision <= last) continue; // watchAll can repeat
    revisions.set(sessionId, revision);
    seen.all++;
  }
}

for (let n = 0; n < Number(SESSIONS); n++) follow(n).catch((error) => wrong(`vs_Soak${n} ended: ${error}`));
stopReading().catch((error) => wrong(`the reader that had stopped ended: ${error}`));
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "read") readOn();
  if (line === "collect") globalThis.gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  console.log(JSON.stringify({ ...seen, heap: heapUsed + external, rss }));
}
process.exit();
