// The page follows the live status at /events, shows it in words, and asks /link for a link to Stripe's page. The cookie alone
// identifies the person: nothing here chooses whose status is shown.
import { choose, wordsFor } from "./words.js";

const element = (id) => document.getElementById(id);
const card = element("card"), go = element("go");
const t = choose(navigator.languages);

document.documentElement.lang = t.language;
document.title = `${t.page.title} – Larkspur`;
for (const each of document.querySelectorAll("[data-word]")) each.textContent = t.page[each.dataset.word];
element("steps").setAttribute("aria-label", t.page.progress);

// fill shows a text, or hides its element if there is no text.
function fill(id, text) {
  element(id).textContent = text ?? "";
  element(id).hidden = !text;
}

let shown = "", action;
let asking = false; // POST /link is under way
let verified = false; // POST /link has found the person verified

// show shows a state of words.js, unless it is shown already. Screen readers announce changes in #news. If the focused button is
// removed, the focus moves to the title, not to the top of the page.
function show(words, press = askForLink) {
  const now = JSON.stringify(words);
  if (now === shown) {
    if (!asking) waiting(false); // the person returned from Stripe's page without a change
    return;
  }
  shown = now;
  action = press;
  const hadFocus = document.activeElement === go;
  card.dataset.state = words.state;
  if (words.state !== "loading") card.removeAttribute("aria-busy"); // with aria-busy, screen readers would not announce #news
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
  element("call").hidden = !words.call;
  fill("go", words.button);
  waiting(false);
  ["document", "check", "done"].forEach((step, i) => {
    const li = element(`step-${step}`);
    li.dataset.is = i < words.step ? "past" : i > words.step ? "next" : ["problem", "stop"].includes(words.state) ? "bad" : "now";
    if (i === words.step) li.setAttribute("aria-current", "step");
    else li.removeAttribute("aria-current");
  });
  if (hadFocus && go.hidden) element("title").focus();
}

// Timeouts in milliseconds: of a silent stream (the server sends an event every 5 s: three are missed), of a stream that does not
// open, until an ended stream counts as lost, and until the page explains it in words.
const silence = 16_000, opening = 8_000, grace = 4_000, patience = 8_000;

let source, again, slipping, speaking; // the stream, and timers
let opened = 0, heard = 0; // the times of the opening and of the last event
let answered = false; // the stream has opened
let pause; // that the server asked for
let failures = 0;
let handedOut = false; // the page has issued a cookie since a stream last opened
let refused = false; // and the next stream was refused nevertheless

// connected shows whether the status is live.
function connected(to) {
  clearTimeout(slipping);
  slipping = undefined;
  const before = document.body.dataset.connection;
  if (before === to) return;
  document.body.dataset.connection = to;
  element("connection").textContent = t.page[to];
  if (to === "live") {
    clearTimeout(speaking);
    speaking = undefined;
    fill("notice", "");
    fill("problem", "");
  } else if (to === "busy") {
    say();
  } else {
    speaking ??= setTimeout(say, patience);
    if (!element("notice").hidden) say(); // other words
  }
}

// say explains in words why the status is not live. Without a status it replaces the whole card.
function say() {
  clearTimeout(speaking);
  speaking = -1; // said
  const why = document.body.dataset.connection;
  if (card.dataset.state === "loading") show({ state: "away", step: -1, ...t.away }, follow);
  if (why === "busy") return fill("notice", t.notices.busy);
  if (refused) return fill("notice", t.notices.cookies);
  if (!navigator.onLine) return fill("notice", t.notices.offline);
  const outdated = ["away", "start"].includes(card.dataset.state) ? "" : t.notices.outdated;
  fill("notice", `${t.notices[why] ?? t.notices.lost} ${outdated}`.trim());
}

// follow opens a stream of events and closes the one before. A new stream begins with the status.
function follow() {
  clearTimeout(again);
  source?.close();
  opened = heard = Date.now();
  answered = false;
  pause = undefined;
  const stream = source = new EventSource("/events"), withCookie = handedOut;
  const on = (name, react) => stream.addEventListener(name, (event) => {
    if (stream !== source) return;
    if (name !== "error") [heard, answered, handedOut, refused] = [Date.now(), true, false, false];
    react?.(event);
  });
  on("open");
  // Without a status the page shows nothing that could be live.
  on("live", () => { failures = 0; connected(["loading", "away"].includes(card.dataset.state) ? "stale" : "live"); });
  on("stale", () => connected("stale"));
  on("status", (event) => show(wordsFor(JSON.parse(event.data), t, verified)));
  on("unknown", () => { pause = 5_000 + 5_000 * Math.random(); show(wordsFor(null, t, verified)); });
  on("busy", () => { pause = 30_000 + 30_000 * Math.random(); connected("busy"); });
  on("end", () => { stream.close(); location.reload(); }); // signed out in another tab
  on("error", () => {
    // Not a stream: a proxy's error, or an invalid cookie. GET / issues a new one. If a stream with the new one is refused
    // too, the browser most likely keeps no cookies.
    if (stream.readyState === EventSource.CLOSED) {
      fetch("/", { method: "HEAD" }).then((page) => {
        if (!page.ok || stream !== source) return;
        handedOut = true;
        if (!withCookie || refused) return;
        refused = true;
        connected("lost");
        say();
      }).catch(() => {});
    }
    stream.close();
    again = setTimeout(follow, pause ?? (failures++ ? 1_000 + 2_000 * Math.random() : 1_000 * Math.random()));
    if (pause === undefined) slipping ??= setTimeout(() => connected("lost"), grace);
  });
}

// A stream whose connection was lost without a close reports no error.
setInterval(() => {
  if (source.readyState === EventSource.CLOSED || Date.now() - heard < (answered ? silence : opening)) return;
  connected("lost");
  follow();
}, 1_000);

// comeBack runs when a page was hidden or had no network: its stream can be dead, and its timers can have been stopped.
function comeBack() {
  const fresh = source.readyState !== EventSource.CLOSED && Date.now() - opened < 2_000;
  if (document.hidden) return;
  if (!asking) waiting(false); // after the return from Stripe's page the button works again
  if (fresh) return;
  if (Date.now() - heard > silence) connected("lost");
  follow();
}
addEventListener("pageshow", (event) => event.persisted && comeBack());
document.addEventListener("visibilitychange", comeBack);
document.addEventListener("resume", comeBack); // from being frozen
addEventListener("online", comeBack);
addEventListener("offline", () => { connected("lost"); say(); });

// Other tabs have the same cookie: they open a new stream when it changes.
const tabs = new BroadcastChannel("person");
tabs.onmessage = comeBack;
tabs.postMessage("loaded");

// waiting shows that the button was pressed. Unlike a disabled button, it keeps the focus.
function waiting(on) {
  if (on) go.setAttribute("aria-disabled", "true");
  else go.removeAttribute("aria-disabled");
  if (on) go.textContent = t.page.wait;
  else if (shown) go.textContent = JSON.parse(shown).button ?? "";
}

async function askForLink() {
  waiting(asking = true);
  fill("problem", "");
  const slow = setTimeout(() => fill("notice", t.notices.slow), patience);
  let problem = "UNAVAILABLE";
  try {
    const response = await fetch("/link", { method: "POST", signal: AbortSignal.timeout(45_000) });
    const answer = await response.json();
    if (answer.url) {
      tabs.postMessage("begun");
      location.assign(answer.url);
      setTimeout(() => asking || waiting(false), 10_000); // the person stopped the navigation, or it failed
      return;
    }
    problem = answer.problem;
  } catch {
    // Offline, or not JSON: the page shows the same text.
  } finally {
    asking = false;
    clearTimeout(slow);
    if (element("notice").textContent === t.notices.slow) fill("notice", "");
  }
  waiting(false);
  if (problem === "SIGNED_OUT") return location.reload(); // GET / issues a new cookie
  if (verified ||= problem === "ALREADY_VERIFIED") show(wordsFor(null, t, verified));
  else fill("problem", t.refusals[problem] ?? t.refusals.UNAVAILABLE);
  if (!["UNAVAILABLE", "BUSY"].includes(problem)) follow(); // the shown status is out of date
}

go.addEventListener("click", () => go.getAttribute("aria-disabled") || action());

show({ state: "loading", step: -1, ...t.loading });
connected("connecting");
follow();
