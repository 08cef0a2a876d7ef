import { readdirSync, readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname } from "node:path";

/** The page is the Go example's: its files are not copied. */
const folder = new URL("../../bff/static/", import.meta.url);

const types: Record<string, string> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** Files are the page's files. They are read once, so that no request chooses a path on the disk. */
export class Files {
  readonly #files = new Map(readdirSync(folder).map((name) => [`/${name}`, readFileSync(new URL(name, folder))]));

  /** send answers with a file, or with 404. */
  send(response: ServerResponse, path: string): void {
    const file = this.#files.get(path), type = types[extname(path)];
    if (!file || !type) return reply(response, 404, "404 page not found");
    response.writeHead(200, { "Content-Type": type, "Content-Length": file.length }).end(file);
  }
}

/** reply answers with a text or with JSON. */
export function reply(response: ServerResponse, status: number, body: string | object): void {
  const text = typeof body === "string" ? `${body}\n` : JSON.stringify(body);
  const type = typeof body === "string" ? "text/plain; charset=utf-8" : "application/json";
  response.writeHead(status, { "Content-Type": type, "Content-Length": Buffer.byteLength(text) }).end(text);
}

/** redirect sends the browser to another address. The browser repeats the method after a 307 and uses GET after a 303. */
export function redirect(response: ServerResponse, status: 303 | 307, to: string): void {
  response.writeHead(status, { Location: to, "Content-Length": 0 }).end();
}

/** isRead returns whether a request reads and changes nothing. */
export function isRead(request: IncomingMessage): boolean {
  return request.method === "GET" || request.method === "HEAD";
}
