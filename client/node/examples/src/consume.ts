import { connect, Status } from "@verification-status/client";

const stop = new AbortController();
process.once("SIGTERM", () => { stop.abort(); });
const client = connect("127.0.0.1:50051", { plaintext: true });

await client.consume("mailer", async ({ verification }) => {
  const { clientReferenceId, status, lastError, outcomeId } = verification;
  if (status === Status.REQUIRES_INPUT && !lastError) return; // a new session: the person has not submitted yet
  // The same outcome can come again, with the same outcomeId. Make it the key under which your mail goes out once.
  console.log("mail to", clientReferenceId, Status[status], lastError?.reason ?? "", outcomeId);
}, {
  statuses: [Status.VERIFIED, Status.REQUIRES_INPUT], // without it also PROCESSING and CANCELED
  signal: stop.signal, // consume finishes what runs, and resolves
  onFailure: (_, error, wait) => { console.error(`again in ${wait} ms:`, error); },
});
client.close();
