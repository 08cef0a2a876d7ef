// Follows a person with the npm package, as a program of a company does. It writes a line to stdout for each update, and a line to
// stderr for each interruption. Settings: TARGET, REFERENCE, and HEARTBEAT and BACKOFF in milliseconds.
import { connect } from "@verification-status/client";

const { TARGET, REFERENCE, HEARTBEAT, BACKOFF } = process.env;
const client = connect(TARGET, { plaintext: true, ...(BACKOFF && { backoff: { base: Number(BACKOFF) / 10, max: Number(BACKOFF) } }) });
const options = { heartbeat: HEARTBEAT && Number(HEARTBEAT), onInterruption: (error) => console.error(`resuming: ${error.code} ${error.message}`) };
for await (const { verification, reset } of client.watch({ reference: REFERENCE }, options)) {
  console.log(JSON.stringify({ revision: verification.revision, reset }));
}
