/**
 * Logger gets what the bridge logs. `console` is one. The details are for a logger that takes an object behind the text; for others,
 * such as pino, wrap it: `{ info: (text, details) => log.info(details, text), … }`.
 */
export interface Logger {
  /** Gets the end of an outage of the service. */
  info(text: string, details?: object): void;
  /** Gets an outage of the service. */
  warn(text: string, details?: object): void;
  /** Gets a fault of this program or of the service. */
  error(text: string, details?: object): void;
}

/** Returns a logger that drops the errors of another one: a line that cannot be logged ends no stream, and no program. */
export function harmless(logger: Logger): Logger {
  const guard = (level: keyof Logger) => (text: string, details?: object): void => {
    try {
      logger[level](text, details);
    } catch {
      // There is nowhere to report it.
    }
  };
  return { info: guard("info"), warn: guard("warn"), error: guard("error") };
}
