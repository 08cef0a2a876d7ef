// Keeps a page live, and copies links. The server renders every page: when the stream says that something has changed, this script
// loads the same page again and puts its content in place. Without JavaScript everything else works.

const live = document.getElementById("live");
if (live) follow(live);

const copy = document.getElementById("copy");
if (copy) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    const url = document.getElementById("url");
    url.select();
    let said = "Copied.";
    try {
      await navigator.clipboard.writeText(url.value);
    } catch {
      said = "Your browser does not let the page copy. The link is selected: press Ctrl+C.";
    }
    document.getElementById("copied").textContent = said;
  });
}

// What was just done is said once, not again after a reload.
if (new URLSearchParams(location.search).has("done")) history.replaceState(null, "", location.pathname);

function follow(live) {
  // Milliseconds: a stream is lost after this silence (the server sends an event every 5 s), the content is loaded at least this often
  // (ages change, and some inputs make no revision), a failed load is repeated after this, and a lost stream is opened again after this,
  // or, if the page says why it was ended, after this. Chance is added to the last two: all pages can lose their streams at once.
  const silence = 16_000, refresh = 60_000, repeat = 10_000, again = 3_000, later = 30_000;
  const words = { connecting: "Connecting…", live: "Live", stale: "Not live: the service does not answer", lost: "Not live: reconnecting…", refused: "Not live: load the page again", failed: "Not live: this page could not be loaded again, so it can be old", trouble: "" };
  const pill = document.getElementById("connection");
  let source, reopening, heard = Date.now(), loaded = Date.now(), loading = false, wanted = null;
  let failed = false; // the newest load: no event makes the page live until one succeeds
  let connection; // what the stream amounts to

  function is(state) {
    connection = state;
    if (failed && state === "live") state = "failed";
    if (pill.dataset.is === state && pill.textContent === words[state]) return;
    pill.dataset.is = state;
    pill.textContent = words[state];
    pill.hidden = false;
  }

  function open() {
    clearTimeout(reopening);
    source?.close();
    heard = Date.now();
    const stream = source = new EventSource(live.dataset.live);
    const on = (name, react) => stream.addEventListener(name, (event) => {
      if (stream !== source) return;
      if (name !== "error") heard = Date.now();
      react(event);
    });
    on("open", () => {});
    on("live", () => is("live"));
    on("stale", () => is("stale"));
    on("changed", () => { is("live"); load(""); });
    on("status", (event) => {
      const revision = JSON.parse(event.data).revision, shown = Number(live.dataset.stamp);
      if (revision !== shown) load(revision > shown ? revision : "");
    });
    on("reset", () => load(""));
    on("unknown", () => load(""));
    on("trouble", (event) => {
      words.trouble = "Not live: " + JSON.parse(event.data).says;
      is("trouble");
      stream.close();
      reopening = setTimeout(open, later * (1 + Math.random()));
    });
    on("error", () => {
      is(stream.readyState === EventSource.CLOSED ? "refused" : "lost");
      stream.close();
      reopening = setTimeout(open, again * (1 + Math.random()));
    });
  }

  // load puts the page's content in place, as it is now. Changes during a load are loaded after it.
  async function load(revision) {
    wanted = revision;
    if (loading) return;
    loading = true;
    while (wanted !== null) {
      const address = new URL(location.href);
      if (wanted) address.searchParams.set("revision", wanted);
      wanted = null;
      try {
        const response = await fetch(address, { signal: AbortSignal.timeout(15_000) });
        if (response.redirected && new URL(response.url).pathname === "/sign-in") return location.reload();
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const next = page.getElementById("live");
        failed = !response.ok || !next;
        if (!failed) put(next, page.title);
      } catch {
        failed = true;
      }
      is(connection);
    }
    loading = false;
    loaded = failed ? Date.now() - refresh + repeat : Date.now();
  }

  // put replaces the content. It keeps the focus, and waits while somebody selects text.
  function put(next, title) {
    const same = next.innerHTML === live.innerHTML;
    live.dataset.stamp = next.dataset.stamp;
    if (same) return;
    const selection = getSelection();
    if (!selection.isCollapsed && live.contains(selection.anchorNode)) {
      live.dataset.stamp = "";
      setTimeout(() => load(""), 2_000);
      return;
    }
    const before = new Set([...live.querySelectorAll("li[id]")].map((li) => li.id));
    const focused = live.contains(document.activeElement) ? document.activeElement.id : "";
    const news = next.dataset.news, said = live.dataset.news;
    live.replaceChildren(...next.childNodes);
    live.dataset.news = news;
    document.title = title;
    for (const li of live.querySelectorAll("li[id]")) if (!before.has(li.id)) li.classList.add("fresh");
    if (focused) (document.getElementById(focused) ?? document.getElementById("main")).focus();
    if (news !== said) document.getElementById("news").textContent = news;
  }

  setInterval(() => {
    if (document.hidden) return;
    if (source.readyState !== EventSource.CLOSED && Date.now() - heard > silence) {
      is("lost");
      open();
    }
    if (Date.now() - loaded > refresh) load("");
  }, 1_000);

  // A hidden page needs no stream: over HTTP/1.1 a browser has six for all its tabs together.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(reopening);
      source.close();
      source = { readyState: EventSource.CLOSED, close() {} };
      return;
    }
    is("connecting");
    open();
    load("");
  });
  addEventListener("online", () => { open(); load(""); });
  addEventListener("offline", () => is("lost"));
  is("connecting");
  open();
}
