/** ServerSentEvent is one block of the format of HTML's "Server-sent events", without the fields that are missing. */
export interface ServerSentEvent {
  /** From an event without a name the browser takes only id and retry. */
  readonly name?: string;
  /** The new Last-Event-ID of the browser. Empty: it keeps the old one. */
  readonly id?: string;
  /** One line. Default `{}`, because browsers drop an event with a name but without data. */
  readonly data?: string;
  /** The wait of the browser before it reconnects, in milliseconds. */
  readonly retry?: number;
}

/** Returns events as they are sent. */
export function format(...events: readonly ServerSentEvent[]): string {
  let text = "";
  for (const { name, id, data, retry } of events) {
    if (retry !== undefined) text += `retry: ${Math.floor(retry)}\n`;
    if (id) text += `id: ${id}\n`;
    if (name !== undefined) text += `event: ${name}\ndata: ${data ?? "{}"}\n`;
    text += "\n";
  }
  return text;
}

/** The waits of a browser before it reconnects, in milliseconds: see {@link spread}. */
export const retry = {
  /** After the maximum age of a stream. */
  aged: 500,
  /** After an interruption. */
  break: 2_000,
  /** For an unknown session. */
  unknown: 5_000,
  /** If reconnecting soon does not help. */
  long: 30_000,
} as const;

/** Returns a wait to twice the wait at random, so that the browsers of a lost server do not reconnect at the same time. */
export function spread(wait: number): number {
  return wait * (1 + Math.random());
}
