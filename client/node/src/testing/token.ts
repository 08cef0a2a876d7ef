/**
 * Token is the position of a watch or a consumer, after a revision of a session or after a number of feed entries, or the cursor of a
 * list, after a session of one second.
 */
export interface Token {
  /** Which tokens are still good: see FakeServer.expireTokens. */
  epoch: number;
  subject: string;
  session: string;
  revision: number;
  /** Feed entries before the position. */
  entries: number;
  /** Unix time of the last session of a page. */
  second: number;
}

/** The contract's longest token, in bytes. */
export const maxToken = 2048;

export function newToken(subject: string, rest: Partial<Token> = {}): Token {
  return { epoch: 0, subject, session: "", revision: 0, entries: 0, second: 0, ...rest };
}

/** The names of the fields in the text, in their order. Those that are missing in a text are 0 or empty. */
const names = [
  ["epoch", "e"],
  ["subject", "w"],
  ["session", "s"],
  ["revision", "r"],
  ["entries", "n"],
  ["second", "t"],
] as const;

export function formatToken(token: Token): string {
  const text: Record<string, string | number> = {};
  for (const [field, short] of names) {
    if (short === "e" || short === "w" || token[field]) text[short] = token[field];
  }
  return Buffer.from(JSON.stringify(text)).toString("base64url");
}

/** Returns the token of this subject, or undefined if the text is none. */
export function parseToken(text: string, subject: string): Token | undefined {
  const token = decodeToken(text);
  return token?.subject === subject ? token : undefined;
}

/** Returns the token of any subject, or undefined if the text is none. */
export function decodeToken(text: string): Token | undefined {
  const decoded = Buffer.from(text, "base64url");
  if (decoded.toString("base64url") !== text) return undefined; // the decoder skips what is not base64url
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(decoded.toString()) as Record<string, unknown>;
  } catch {
    return undefined;
  }
  const token = newToken("");
  for (const [field, short] of names) {
    const value = fields?.[short];
    if (value === undefined) continue;
    if (typeof value !== typeof token[field]) return undefined;
    Object.assign(token, { [field]: value });
  }
  return token;
}

/** Returns a hash that stands for a reference or a list. As in the service's tokens, a token must not reveal them. */
export function digest(kind: string, text: string): string {
  let hash = 0xcbf29ce484222325n; // FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/
  for (const byte of Buffer.from(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return `${kind} ${hash.toString(16)}`;
}
