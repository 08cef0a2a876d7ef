import type { IncomingMessage, ServerResponse } from "node:http";
import { isRead, redirect, reply } from "./files.js";

/** policy lets the page run its own files and nothing else. */
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
  + "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/**
 * guard sets the headers of every answer. It answers a request by itself, and returns false, if the request is for another host or
 * comes from another site: cookies and the return from Stripe work at one address only.
 */
export function guard(request: IncomingMessage, response: ServerResponse, publicURL: URL): boolean {
  response.setHeader("Content-Security-Policy", policy);
  response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
  response.setHeader("Referrer-Policy", "same-origin");
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("Cache-Control", "no-store");
  if (publicURL.protocol === "https:") { // by the setting, never by a header, which a visitor can send
    response.setHeader("Strict-Transport-Security", "max-age=31536000");
  }
  if (request.headers.host !== publicURL.host) {
    if (request.method === "GET" && request.url?.split("?")[0] === "/") redirect(response, 307, `${publicURL.origin}/`);
    else reply(response, 421, `this site is at ${publicURL.origin}`);
    return false;
  }
  if (!isRead(request) && isFromElsewhere(request)) {
    reply(response, 403, "a page of another site makes no requests here");
    return false;
  }
  return true;
}

/**
 * isFromElsewhere returns whether a page of another site makes the request. Browsers say so in Sec-Fetch-Site, and older ones send
 * the origin of the page. A request with neither comes from a program, which has no cookies of a person.
 */
function isFromElsewhere(request: IncomingMessage): boolean {
  const site = request.headers["sec-fetch-site"], origin = request.headers.origin;
  if (site) return site !== "same-origin" && site !== "none";
  return !!origin && (!URL.canParse(origin) || new URL(origin).host !== request.headers.host);
}
