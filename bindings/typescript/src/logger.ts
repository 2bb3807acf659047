/** Where workers and handlers log. */

/** Where a worker logs. `console` and the loggers of most libraries fit. */
export interface Logger {
  error(message: string, fields: object): void;
  warn(message: string, fields: object): void;
  info(message: string, fields: object): void;
  debug(message: string, fields: object): void;
}

/** Where a handler logs: the logger of its worker, which gets the fields of the step with each message. */
export type StepLogger = { [Level in keyof Logger]: (message: string, fields?: object) => void };

/** Returns a logger that adds these fields to each message. */
export function withFields(logger: Logger, added: object): StepLogger {
  return {
    error: (message, fields) => {
      logger.error(message, { ...added, ...fields });
    },
    warn: (message, fields) => {
      logger.warn(message, { ...added, ...fields });
    },
    info: (message, fields) => {
      logger.info(message, { ...added, ...fields });
    },
    debug: (message, fields) => {
      logger.debug(message, { ...added, ...fields });
    },
  };
}
