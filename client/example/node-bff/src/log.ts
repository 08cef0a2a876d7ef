/** Fields are the values of a line, by their names. */
export type Fields = Record<string, unknown>;

/** log writes one line of JSON to stderr. An error among the fields is written with its message and without its stack. */
export function log(level: "INFO" | "WARN" | "ERROR", msg: string, fields: Fields = {}): void {
  const text = (_: string, value: unknown) => (value instanceof Error ? value.message : value);
  console.error(JSON.stringify({ time: new Date(), level, msg, ...fields }, text));
}

/** logger is log for a package that wants methods. */
export const logger = {
  info: (msg: string, fields?: object) => log("INFO", msg, { ...fields }),
  warn: (msg: string, fields?: object) => log("WARN", msg, { ...fields }),
  error: (msg: string, fields?: object) => log("ERROR", msg, { ...fields }),
};
