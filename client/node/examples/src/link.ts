import express from "express";
import { connect, RetryDenial, RetryDeniedError, UnavailableError } from "@verification-status/client";

const client = connect("127.0.0.1:50051", { plaintext: true });
const signedIn = () => "user-42"; // your own sign-in

const app = express();
app.post("/link", async (_, response) => {
  try {
    const { sessionId } = await client.status({ reference: signedIn() });
    const link = await client.retry(sessionId, { replaceClosed: true, returnUrl: "http://127.0.0.1:3001/" });
    response.json({ url: link.url.reveal() }); // in this answer only: everywhere else the link prints as [redacted]
  } catch (error) {
    if (error instanceof RetryDeniedError) response.status(409).json({ problem: RetryDenial[error.denial] });
    else if (error instanceof UnavailableError) response.status(503).json({ problem: "UNAVAILABLE" });
    else throw error;
  }
});
app.listen(3001, "127.0.0.1", () => { console.log("listening"); });
