/**
 * An example to read and copy from: a web site of one page, on which people verify their identity. It is a backend for frontends
 * between the browser, Stripe and verification-status.
 *
 *     go run ./server dev                  # in one terminal
 *     npm ci && npm run build && npm start # in another, in this directory; then open http://127.0.0.1:8080
 *
 * It keeps no data: the cookie identifies the person, and verification-status has their status. So it can be stopped, replaced and
 * run several times, with the same BFF_COOKIE_KEY.
 *
 * Presses of the page's button are limited by person, by address and in all: see limits.ts. Behind a proxy, set BFF_ADDRESS_HEADER:
 * without addresses, one visitor with many cookies can use up the reads of Stripe that are for all. The header must end with the
 * address of the browser: if it ends with that of another proxy, all visitors share the limits of one address.
 */
import { once } from "node:events";
import { connect } from "@verification-status/client";
import { log } from "./log.js";
import { isLoopback, readSettings, usage, type Settings } from "./settings.js";
import { Site } from "./site.js";

/** run serves until Ctrl-C or SIGTERM. */
async function run(settings: Settings): Promise<void> {
  const { target, host, port, publicURL } = settings;
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  const client = connect(target, { plaintext: isLoopback(target.replace(/^dns:\/\/\//, "")) });
  const site = new Site(client, settings);
  await once(site.server.listen(port, host), "listening");
  if (settings.generatedKey) {
    log("INFO", "BFF_COOKIE_KEY is not set: a key was generated, and every visitor is a new person after a restart");
  }
  if (publicURL.protocol === "https:" && !settings.addressHeader) {
    log("INFO", "BFF_ADDRESS_HEADER is not set: the proxy hides the browsers' addresses, so neither streams nor presses of the button "
      + "are limited by address, and one visitor can use up the reads of Stripe that are for all");
  }
  log("INFO", `open ${publicURL.origin}`);
  await stopped;
  await site.stop();
  client.close();
}

if (process.argv.includes("--help") || process.argv.includes("-h")) {
  console.log(usage);
} else {
  try {
    await run(readSettings(process.env));
  } catch (error) {
    console.error(`bff: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
