// The page: it follows the live status at /events, says it in words, and asks /link for the way to
// Stripe's page. Who the person is, the cookie says; nothing here chooses whose status is shown.
import { wordsFor, refusals } from "./words.js";

const element = (id) => document.getElementById(id);
const card = element("card"), go = element("go");

// fill shows a text, or hides its element where there is none.
function fill(id, text) {
  element(id).textContent = text ?? "";
  element(id).hidden = !text;
}

// show puts a state of words.js on the page. Screen readers hear what changed in #news; who had the
// focus on a button that goes is taken to the title, not to the top of the page.
function show(words) {
  const hadFocus = document.activeElement === go;
  card.dataset.state = words.state;
  card.removeAttribute("aria-busy"); // with it, screen readers would not read the news
  document.title = `${words.title} – Larkspur`;
  element("title").textContent = words.title;
  element("text").textContent = words.text;
  fill("fact-title", words.fact?.title);
  fill("fact-text", words.fact?.text);
  element("fact").hidden = !words.fact;
  fill("advice", words.advice);
  fill("note", words.note);
  fill("problem", "");
  element("bring").hidden = words.state !== "start";
  fill("go", words.button);
  go.removeAttribute("aria-disabled");
  ["document", "check", "done"].forEach((step, i) => {
    const li = element(`step-${step}`);
    li.dataset.is = i < words.step ? "past" : i > words.step ? "next" : ["problem", "stop"].includes(words.state) ? "bad" : "now";
    if (i === words.step) li.setAttribute("aria-current", "step");
    else li.removeAttribute("aria-current");
  });
  if (hadFocus && go.hidden) element("title").focus();
}

// connected says whether what is shown is live.
function connected(to) {
  const pill = element("connection");
  if (pill.dataset.to === to) return;
  pill.dataset.to = to;
  pill.textContent = { live: "Live", lost: "Reconnecting…" }[to];
}

let source, again, expected = false;

// follow opens the stream of events. The browser reopens it by itself, from where it was; only after an
// answer that is no stream (a proxy's error page, say) it gives up, and then the page tries.
function follow() {
  clearTimeout(again);
  source?.close();
  source = new EventSource("/events");
  source.addEventListener("open", () => connected("live"));
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) again = setTimeout(follow, 3000 + 4000 * Math.random());
    if (expected) expected = false; // the server said that it would close
    else connected("lost");
  });
  source.addEventListener("status", (event) => show(wordsFor(JSON.parse(event.data))));
  source.addEventListener("unknown", () => { expected = true; show(wordsFor(null)); });
  source.addEventListener("busy", () => {
    expected = true;
    fill("problem", "This page is open too often. Close the other tabs.");
  });
  source.addEventListener("end", () => {
    source.close();
    location.reload(); // signed out in another tab: whoever that is now is shown
  });
}

// A browser that is told of its network knows sooner than the stream does.
addEventListener("offline", () => connected("lost"));
addEventListener("online", follow);
addEventListener("pageshow", (event) => { if (event.persisted) follow(); });

go.addEventListener("click", async () => {
  if (go.getAttribute("aria-disabled")) return;
  go.setAttribute("aria-disabled", "true"); // keeps the focus, as disabled would not
  fill("problem", "");
  let problem = "UNAVAILABLE";
  try {
    const response = await fetch("/link", { method: "POST", signal: AbortSignal.timeout(45_000) });
    const answer = await response.json();
    if (answer.url) {
      location.assign(answer.url);
      return;
    }
    problem = answer.problem;
  } catch {
    // Offline, or no JSON: what the person reads is the same.
  }
  go.removeAttribute("aria-disabled");
  fill("problem", refusals[problem] ?? refusals.UNAVAILABLE);
});

follow();
