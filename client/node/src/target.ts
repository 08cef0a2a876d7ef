import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";

/** Endpoint is one address of the service. */
export interface Endpoint {
  /** gRPC's target for this address alone, such as "ipv4:10.0.0.1:443". It is unique among endpoints of one authority. */
  readonly target: string;
  /** The name and port that the caller wrote: what the call asks for, whatever the address. */
  readonly authority: string;
  /** The name that the server's certificate must have, or "" for the one of the target. */
  readonly serverName: string;
  /** Whether it is on this machine. */
  readonly local: boolean;
}

/** Target is what a caller wrote: a name that is resolved, or addresses. */
export interface Target {
  /** Returns the addresses. It rejects if a name cannot be resolved. */
  resolve(): Promise<Endpoint[]>;
  /** The addresses, if they need no resolution. */
  readonly fixed: readonly Endpoint[] | undefined;
}

const defaultPort = 443;

/** Parses a target. It throws a TypeError if it has another form than {@link connect} names. */
export function parseTarget(target: string): Target {
  const scheme = /^(dns|ipv4|ipv6|unix):/.exec(target)?.[1];
  const rest = scheme === undefined ? target : target.slice(scheme.length + 1);
  switch (scheme) {
    case "unix": {
      const path = rest.replace(/^\/\/(?=\/)/, "");
      return fixed([{ target: `unix:${path}`, authority: "localhost", serverName: "localhost", local: true }]);
    }
    case "ipv4":
    case "ipv6":
      return fixed(rest.split(",").map((address) => ofAddress(target, address, Number(scheme.slice(-1)))));
    case "dns":
      if (rest.startsWith("//") && !rest.startsWith("///")) {
        throw new TypeError(`target ${quote(target)}: a DNS server cannot be chosen; write dns:///host:port`);
      }
      return ofName(target, rest.replace(/^\/\/\//, ""));
    default:
      return ofName(target, rest);
  }
}

function fixed(endpoints: readonly Endpoint[]): Target {
  return { fixed: endpoints, resolve: () => Promise.resolve([...endpoints]) };
}

function ofAddress(target: string, address: string, family: number): Endpoint {
  const { host, port } = split(target, address);
  if (isIP(host) !== family) {
    throw new TypeError(`target ${quote(target)}: ${quote(address)} is no address of IP version ${family}`);
  }
  return ofIP(host, port, address);
}

function ofIP(ip: string, port: number, authority: string, serverName = ""): Endpoint {
  const family = isIP(ip);
  return {
    target: family === 6 ? `ipv6:[${ip}]:${port}` : `ipv4:${ip}:${port}`,
    authority,
    serverName,
    local: loopback.check(ip, family === 6 ? "ipv6" : "ipv4"),
  };
}

function ofName(target: string, name: string): Target {
  const { host, port } = split(target, name);
  if (isIP(host) !== 0) {
    return fixed([ofIP(host, port, name)]);
  }
  return {
    fixed: undefined,
    resolve: async () => {
      const addresses = await lookup(host, { all: true, verbatim: true });
      return addresses.map(({ address }) => ofIP(address, port, name, host));
    },
  };
}

/** Splits "host", "host:port", "[ipv6]" or "[ipv6]:port". */
function split(target: string, text: string): { host: string; port: number } {
  const parts = /^(?:\[([^\]]+)\]|([^:/\s[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const host = parts?.[1] ?? parts?.[2];
  const port = parts?.[3] === undefined ? defaultPort : Number(parts[3]);
  if (host !== undefined && port > 0 && port < 65536) {
    return { host, port };
  }
  if (isIP(text) === 6) {
    return { host: text, port: defaultPort };
  }
  throw new TypeError(`target ${quote(target)}: write host:port`);
}

function quote(text: string): string {
  return JSON.stringify(text);
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");
loopback.addSubnet("::ffff:127.0.0.0", 104, "ipv6");
