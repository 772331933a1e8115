/** The one error class of the project: what is wrong, with which value, and what to do about it. */
export class S3aError extends Error {
  /** Stable machine-readable reason, for example `BAD_IMAGE` or `SHAPE`. */
  readonly code: string;
  /** What the reader can do, one sentence; printed after the message. */
  readonly hint: string | undefined;

  constructor(code: string, message: string, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'S3aError';
    this.code = code;
    this.hint = hint;
  }
}

/** The message of anything that was thrown, on one line. */
export function messageOf(error: unknown): string {
  // Not by `instanceof`: under Jest errors of Node and of addons are of another realm.
  const { message } = Object(error) as { message?: unknown };
  const text = typeof message === 'string' ? message : String(error);
  return text.replace(/\s*\n\s*/g, ' ').trim();
}

/** The message of anything that was thrown; of what the system says, without the code, call and path that Node puts around it. */
export function whyOf(error: unknown): string {
  const text = messageOf(error);
  if (!('syscall' in Object(error))) return text;
  return /^E[A-Z0-9]+: (.+?), [a-z]+(?: '.*)?$/.exec(text)?.[1] ?? text;
}
