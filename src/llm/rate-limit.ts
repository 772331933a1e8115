/** What a server says about its rate limits, and the pause that all requests to it make then. */
import { pause } from './retry.ts';

/** Lets requests through, or keeps them all back for a while. */
export interface Pace {
  /** Lets no request through for so many milliseconds from now. */
  hold(milliseconds: number): void;
  /** Returns when requests may be sent; throws the signal's reason. */
  ready(signal: AbortSignal): Promise<void>;
}

/** A pace that holds nothing back yet. */
export function createPace(clock: () => number = Date.now): Pace {
  let until = 0;
  return {
    hold(milliseconds) {
      until = Math.max(until, clock() + milliseconds);
    },
    async ready(signal) {
      for (let left = until - clock(); left > 0; left = until - clock()) await pause(left, signal);
    },
  };
}

/**
 * The milliseconds until a limit that is used up is reset, by `x-ratelimit-remaining-*` and `x-ratelimit-reset-*` (OpenAI,
 * Groq, Azure and others) or the same without `x-`; undefined when nothing is used up or the headers do not say until when.
 */
export function limitReset(headers: Headers | undefined, now: number): number | undefined {
  if (!headers) return undefined;
  const waits: number[] = [];
  for (const prefix of ['x-ratelimit', 'ratelimit']) {
    for (const kind of ['', '-requests', '-tokens']) {
      if (headers.get(`${prefix}-remaining${kind}`)?.trim() !== '0') continue;
      const wait = duration(headers.get(`${prefix}-reset${kind}`)?.trim() ?? '', now);
      if (wait !== undefined) waits.push(wait);
    }
  }
  return waits.length > 0 ? Math.max(...waits) : undefined;
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `1s`, `6m0s`, `20ms`, a number of seconds, a time since 1970 in seconds or milliseconds, or a date. */
function duration(text: string, now: number): number | undefined {
  if (text === '' || text.length > 64) return undefined;
  if (/^\d+(\.\d+)?$/.test(text)) {
    const value = Number(text);
    if (value > 1e11) return Math.max(0, value - now);
    return value > 1e9 ? Math.max(0, value * 1000 - now) : value * 1000;
  }
  if (/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) {
    return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)].reduce(
      (sum, [, n, unit]) => sum + Number(n) * unitMs[unit],
      0,
    );
  }
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
