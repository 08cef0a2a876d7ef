import type { IncomingMessage } from "node:http";
import { isIP, isIPv4, isIPv6 } from "node:net";

/**
 * addressOf returns the address of the browser, or "" if a proxy hides it. A site with TLS always has a proxy in front, which has
 * the certificate. A /64 network of IPv6 counts as one address, because one machine can use all of it. If the header of the proxy
 * is missing or unreadable, addressOf returns that of the proxy: without an address, no limit would apply.
 */
export function addressOf(request: IncomingMessage, header: string, secure: boolean): string {
  if (header) {
    const all = [request.headers[header.toLowerCase()] ?? ""].flat().join(",").split(",");
    const found = networkOf(all.at(-1) ?? ""); // the browser can have made up the ones before it
    if (found) return found;
  } else if (secure) {
    return "";
  }
  return networkOf(request.socket.remoteAddress ?? "");
}

/** networkOf returns the address in a text, with or without a port, or "" if there is none. Of IPv6 it returns the /64 network. */
export function networkOf(text: string): string {
  const host = hostOf(text.trim());
  const mapped = /^::ffff:([\d.]+)$/i.exec(host)?.[1] ?? "";
  if (isIPv4(mapped)) return mapped;
  return isIP(host) === 6 ? prefix64(host) : isIP(host) === 4 ? host : "";
}

function hostOf(text: string): string {
  const bracketed = /^\[([^\]]*)\](?::\d+)?$/.exec(text)?.[1];
  const host = bracketed ?? (isIPv6(text) ? text : text.replace(/:\d+$/, ""));
  return host.replace(/%.*$/, ""); // the zone of a link-local address
}

/** prefix64 returns the /64 network of an IPv6 address, which may end with an IPv4 address. */
function prefix64(address: string): string {
  const [head = "", tail] = address.toLowerCase().split("::");
  const groups = (part: string) => part.split(":").filter(Boolean).flatMap((group) => (group.includes(".") ? ["0", "0"] : [group]));
  const before = groups(head), after = tail === undefined ? [] : groups(tail);
  const zeros = Array<string>(8 - before.length - after.length).fill("0");
  const first = [...before, ...zeros, ...after].slice(0, 4).map((group) => group.replace(/^0+(?=.)/, ""));
  return `${first.join(":")}::/64`;
}
