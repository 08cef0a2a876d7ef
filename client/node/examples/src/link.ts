import express, { type ErrorRequestHandler } from "express";
import {
  connect, DeadlineExceededError, NotFoundError, RetryDenial, RetryDeniedError, Status, UnavailableError,
} from "@verification-status/client";

const client = connect("127.0.0.1:50051", { plaintext: true });
const signedIn = () => "user-42"; // your own sign-in

const app = express();
app.get("/me", async (_, response) => {
  const { status, lastError, retry } = await client.status({ reference: signedIn() }, { timeout: 2_000 });
  const mayTryAgain = retry?.allowed === true || retry?.denial === RetryDenial.CANCELED; // /link replaces a canceled session
  response.json({ status: Status[status], reason: lastError?.reason, mayTryAgain });
});
app.post("/link", async (_, response) => {
  const { sessionId } = await client.status({ reference: signedIn() }, { timeout: 2_000 });
  const link = await client.retry(sessionId, { replaceClosed: true, returnUrl: "http://127.0.0.1:3001/me", timeout: 10_000 });
  response.json({ url: link.url.reveal() }); // in this answer only: everywhere else the link prints as [redacted]
});
const onError: ErrorRequestHandler = (error, _request, response, _next) => {
  const [code, problem] =
    error instanceof RetryDeniedError ? [409, RetryDenial[error.denial]]
    : error instanceof NotFoundError ? [404, "NO_SESSION"]
    : error instanceof UnavailableError || error instanceof DeadlineExceededError ? [503, "UNAVAILABLE"]
    : [500, "INTERNAL"];
  if (code === 500) console.error(error);
  response.status(code).json({ problem });
};
app.use(onError); // Express 5 passes a rejected promise of a handler to it
app.listen(3001, "127.0.0.1", (error) => {
  if (error) throw error;
  console.log("listening");
});
