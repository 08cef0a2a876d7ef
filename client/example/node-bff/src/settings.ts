import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { randomBytes } from "node:crypto";

/** Settings are those of the Go example, with the same names and defaults. */
export interface Settings {
  /** The host of the page's server, without brackets. */
  host: string;
  /** The port of the page's server; 0 is a free one. */
  port: number;
  /** The address of the page in browsers: scheme and host, without a path. */
  publicURL: URL;
  /** The address of verification-status. */
  target: string;
  /** Stripe's API, and the key for it. */
  stripe: { base: string; key: string };
  /** The header in which the proxy in front puts the browser's address; empty: there is no proxy. */
  addressHeader: string;
  /** The key that signs the cookies. */
  cookieKey: string;
  /** No setting had a key for the cookies: this start generated one. */
  generatedKey: boolean;
}

/** usage lists the settings. Their defaults fit "server dev". */
export const usage = `A web site of one page, on which people verify their identity. Settings are environment variables:

  BFF_ADDR             where the page is served; default 127.0.0.1:8080
  PUBLIC_URL           the address of the page in browsers; default http:// and BFF_ADDR; use https:// if a proxy in front has the
                       certificate
  VERIFICATION_STATUS  verification-status: host:port or dns:///host:port; plain text on loopback, else TLS;
                       default 127.0.0.1:50051
  STRIPE_API_BASE      Stripe's API; http:// is for loopback only; default http://127.0.0.1:12111
  STRIPE_API_KEY, STRIPE_API_KEY_FILE
                       Stripe's secret key; default: that of "server dev"
  BFF_COOKIE_KEY, BFF_COOKIE_KEY_FILE
                       signs the cookie that identifies a person: at least 32 characters, the same for all processes of the site;
                       without it, each start generates one, and every visitor is a new person after a restart
  BFF_ADDRESS_HEADER   the header in which the proxy in front puts the browser's address, such as X-Forwarded-For; its last
                       address is used, with or without a port; empty: there is no proxy`;

/** minCookieKey is the least length of a key that cannot be guessed. "openssl rand -base64 32" prints 44 characters. */
const minCookieKey = 32;

type Env = Record<string, string | undefined>;

/** readSettings returns the settings. It throws an Error that names all problems, one a line, and quotes no secret. */
export function readSettings(env: Env): Settings {
  const problems: string[] = [];
  const check = <T>(read: () => T, instead: T): T => {
    try {
      return read();
    } catch (error) {
      problems.push((error as Error).message);
      return instead;
    }
  };
  const addr = env["BFF_ADDR"] || "127.0.0.1:8080";
  const { host, port } = check(() => splitAddress("BFF_ADDR", addr), { host: "", port: 0 });
  const nowhere = new URL("http://127.0.0.1");
  const publicURL = check(() => checkURL("PUBLIC_URL", env["PUBLIC_URL"] || `http://${addr}`), nowhere);
  const base = check(() => checkURL("STRIPE_API_BASE", env["STRIPE_API_BASE"] || "http://127.0.0.1:12111"), nowhere);
  const key = check(() => secret("STRIPE_API_KEY", env), "") || "sk_test_simulated";
  const given = check(() => cookieKey(env), "");
  if (problems.length > 0) throw new Error(problems.join("\n"));
  return {
    host, port, publicURL, stripe: { base: base.origin, key },
    target: env["VERIFICATION_STATUS"] || "127.0.0.1:50051",
    addressHeader: env["BFF_ADDRESS_HEADER"] ?? "",
    cookieKey: given || randomBytes(32).toString("base64"), generatedKey: !given,
  };
}

function cookieKey(env: Env): string {
  const key = secret("BFF_COOKIE_KEY", env);
  if (key && key.length < minCookieKey) {
    throw new Error(`BFF_COOKIE_KEY has ${key.length} characters: give at least ${minCookieKey} random ones, such as from: openssl rand -base64 32`);
  }
  return key;
}

/** secret returns the value of a variable, or the content of the file that the variable with _FILE names. */
function secret(variable: string, env: Env): string {
  const value = env[variable] ?? "", file = env[`${variable}_FILE`] ?? "";
  if (!file) return value;
  if (value) throw new Error(`${variable} and ${variable}_FILE are both set: remove one`);
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new Error(`${variable}_FILE: ${(error as Error).message}`);
  }
  if (!text) throw new Error(`${variable}_FILE: ${file} is empty`);
  return text;
}

/** checkURL refuses an address at which cookies or Stripe's key would be sent over a network in plain text. */
function checkURL(variable: string, text: string): URL {
  if (!URL.canParse(text) || !/^[a-z]+:\/\/[^/?#@]+$/i.test(text)) {
    throw new Error(`${variable} ${JSON.stringify(text)}: give a scheme and a host only, such as https://verify.example.com`);
  }
  const url = new URL(text);
  if (url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url.host))) return url;
  throw new Error(`${variable} ${text}: use https://, except on a loopback address`);
}

function splitAddress(variable: string, text: string): { host: string; port: number } {
  const parts = /^(\[[^\]]*\]|[^:]*):(\d{1,5})$/.exec(text);
  if (!parts || Number(parts[2]) > 65535) throw new Error(`${variable} ${JSON.stringify(text)}: give a host and a port, such as 127.0.0.1:8080`);
  return { host: withoutBrackets(parts[1] ?? ""), port: Number(parts[2]) };
}

const withoutBrackets = (host: string) => host.replace(/^\[(.*)\]$/, "$1");

/** isLoopback returns whether a host, with or without a port, is this machine. */
export function isLoopback(hostPort: string): boolean {
  const host = isIP(hostPort) ? hostPort : withoutBrackets(hostPort.replace(/:\d+$/, ""));
  return host === "localhost" || (isIP(host) === 4 && host.startsWith("127.")) || (isIP(host) === 6 && /^(0*:)*0*1$/.test(host));
}
