import express from "express";
import { connect } from "@verification-status/client";
import { eventStreams, send } from "@verification-status/client/sse";

const client = connect("127.0.0.1:50051", { plaintext: true });
const signedIn = () => "user-42"; // your own sign-in; the browser must never choose whose status it sees
const stopping = new AbortController();

const events = eventStreams({
  client,
  signal: stopping.signal,
  authorize: () => ({ user: signedIn(), subject: { reference: signedIn() } }),
});

const app = express();
app.get("/events", (request, response) => send(events(request), response));
app.get("/", (_, response) => { response.send('<h1 id="status"></h1><script src="/page.js"></script>'); });
app.get("/page.js", (_, response) => {
  response.type("js").send(`
    const show = (text) => { document.getElementById("status").textContent = text; };
    const texts = { STATUS_REQUIRES_INPUT: "please begin", STATUS_PROCESSING: "we are checking", STATUS_VERIFIED: "verified" };
    const source = new EventSource("/events");
    source.addEventListener("status", (event) => {
      const { status, lastError } = JSON.parse(event.data);
      show(lastError?.reason ?? texts[status] ?? status);
    });
    source.addEventListener("stale", () => show("one moment…"));
    source.addEventListener("unknown", () => show("not begun"));
  `);
});
const server = app.listen(3000, "127.0.0.1", (error) => {
  if (error) throw error; // Express 5 calls this also if the port is in use
  console.log("open http://127.0.0.1:3000");
});
process.once("SIGTERM", () => {
  stopping.abort(); // a server waits for open streams and does not end them
  server.close(() => client.close());
});
