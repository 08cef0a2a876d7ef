import express from "express";
import { connect } from "@verification-status/client";
import { eventStreams, send } from "@verification-status/client/sse";

const client = connect("127.0.0.1:50051", { plaintext: true }); // one for the program; without plaintext: TLS
const signedIn = () => "user-42"; // your own sign-in; the browser must never choose whose status it sees

const events = eventStreams({
  client,
  authorize: () => ({ user: signedIn(), subject: { reference: signedIn() } }),
});

const app = express();
app.get("/events", (request, response) => send(events(request), response));
app.get("/", (_, response) => { response.send('<h1 id="status"></h1><script src="/page.js"></script>'); });
app.get("/page.js", (_, response) => {
  response.type("js").send(`
    const show = (text) => { document.getElementById("status").textContent = text; };
    const source = new EventSource("/events");
    source.addEventListener("status", (event) => show(JSON.parse(event.data).status));
    source.addEventListener("stale", () => show("one moment…"));
    source.addEventListener("unknown", () => show("not begun"));
  `);
});
app.listen(3000, "127.0.0.1", () => { console.log("open http://127.0.0.1:3000"); });
