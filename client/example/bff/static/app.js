// The page: it follows the live status at /events, says it in words, and asks /link for the way to
// Stripe's page. Who the person is, the cookie says; nothing here chooses whose status is shown.
import { choose, wordsFor } from "./words.js";

const element = (id) => document.getElementById(id);
const card = element("card"), go = element("go");
const t = choose(navigator.languages);

document.documentElement.lang = t.language;
document.title = `${t.page.title} – Larkspur`;
for (const each of document.querySelectorAll("[data-word]")) each.textContent = t.page[each.dataset.word];
element("steps").setAttribute("aria-label", t.page.progress);

// fill shows a text, or hides its element where there is none.
function fill(id, text) {
  element(id).textContent = text ?? "";
  element(id).hidden = !text;
}

let shown = "", action;
let asking = false; // POST /link is under way

// show puts a state of words.js on the page, unless it is there. Screen readers hear what changed in #news; a
// person who had the focus on a button that goes is taken to the title, not to the top of the page.
function show(words, press = askForLink) {
  const now = JSON.stringify(words);
  if (now === shown) {
    if (!asking) waiting(false); // back from Stripe's page, with nothing done there
    return;
  }
  shown = now;
  action = press;
  const hadFocus = document.activeElement === go;
  card.dataset.state = words.state;
  if (words.state !== "loading") card.removeAttribute("aria-busy"); // with it, screen readers would not read the news
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

// How long, in milliseconds: until a stream that says nothing is given up (the server says something every 5 s:
// three are missed), until one that does not open is, until a stream that ended counts as lost, and until the
// person is told in words.
const silence = 16_000, opening = 8_000, grace = 4_000, patience = 8_000;

let source, again, slipping, speaking; // the stream, and timers
let opened = 0, heard = 0; // when
let answered = false; // the stream has opened
let pause; // that the server asked for
let failures = 0;
let handedOut = false; // the page has given out a cookie since a stream opened last
let refused = false; // and the stream that followed was refused all the same

// connected says whether what is shown is live.
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

// say tells the person in words that this is not live. Without a status there is nothing else to tell.
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

// follow opens the stream of events, in place of one that may be there. A new stream begins with the status.
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
  on("status", (event) => show(wordsFor(JSON.parse(event.data), t)));
  on("unknown", () => { pause = 5_000 + 5_000 * Math.random(); show(wordsFor(null, t)); });
  on("busy", () => { pause = 30_000 + 30_000 * Math.random(); connected("busy"); });
  on("end", () => { stream.close(); location.reload(); }); // signed out in another tab
  on("error", () => {
    // Not a stream: a proxy's error, or a cookie that counts no more. The page hands out a new one. If a stream
    // with that one is refused too, the browser most likely keeps no cookies.
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

// A stream whose connection has died silently never says so.
setInterval(() => {
  if (source.readyState === EventSource.CLOSED || Date.now() - heard < (answered ? silence : opening)) return;
  connected("lost");
  follow();
}, 1_000);

// comeBack is for a page that nobody looked at, or that had no network: its stream may be dead, and its timers
// may have stood still.
function comeBack() {
  const fresh = source.readyState !== EventSource.CLOSED && Date.now() - opened < 2_000;
  if (document.hidden) return;
  if (!asking) waiting(false); // a page that comes back from Stripe's has its button again
  if (fresh) return;
  if (Date.now() - heard > silence) connected("lost");
  follow();
}
addEventListener("pageshow", (event) => event.persisted && comeBack());
document.addEventListener("visibilitychange", comeBack);
document.addEventListener("resume", comeBack); // from being frozen
addEventListener("online", comeBack);
addEventListener("offline", () => { connected("lost"); say(); });

// Other tabs have the same cookie: they follow anew when it changes.
const tabs = new BroadcastChannel("person");
tabs.onmessage = comeBack;
tabs.postMessage("loaded");

// waiting shows that the button was pressed. It keeps the focus, as disabled would not.
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
      setTimeout(() => asking || waiting(false), 10_000); // the person stopped it, or it failed
      return;
    }
    problem = answer.problem;
  } catch {
    // Offline, or no JSON: what the person reads is the same.
  } finally {
    asking = false;
    clearTimeout(slow);
    if (element("notice").textContent === t.notices.slow) fill("notice", "");
  }
  waiting(false);
  if (problem === "SIGNED_OUT") return location.reload(); // the page hands out a new cookie
  fill("problem", t.refusals[problem] ?? t.refusals.UNAVAILABLE);
  if (problem !== "UNAVAILABLE") follow(); // what is shown is not what the service knows
}

go.addEventListener("click", () => go.getAttribute("aria-disabled") || action());

show({ state: "loading", step: -1, ...t.loading });
connected("connecting");
follow();
