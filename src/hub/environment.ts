/** What the environment says about the Hugging Face hub, as Python's huggingface_hub reads it; nothing else in this room reads it. */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { S3aError } from '../errors.ts';

/** Variables of an environment, such as `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Where the hub and its cache are, and how to get there. */
export interface HubSettings {
  /** The folder that holds `models--org--name`. */
  readonly cache: string;
  /** Base address without a slash at its end. */
  readonly endpoint: string;
  /** Sent to the hub only, never shown. */
  readonly token: string | undefined;
  readonly offline: boolean;
  /** The longest silence in milliseconds while asking about a file. */
  readonly etagTimeoutMs: number;
  /** The longest silence in milliseconds during a download. */
  readonly downloadTimeoutMs: number;
  /** Whether symbolic links may be used in the cache. */
  readonly symlinks: boolean;
  readonly proxies: ProxyVariables;
}

/** The usual proxy variables, as they were set. */
export interface ProxyVariables {
  readonly http: string | undefined;
  readonly https: string | undefined;
  readonly no: string | undefined;
}

/** The hub that is used unless HF_ENDPOINT names another. */
const OFFICIAL_ENDPOINT = 'https://huggingface.co';

const DEFAULT_TIMEOUT_SECONDS = 10;

/**
 * The settings that an environment gives; empty variables count as unset.
 *
 * Throws S3aError CONFIG for a variable that cannot be meant. Source: huggingface_hub's constants.py and _auth.py.
 */
export function hubSettings(environment: Environment = process.env): HubSettings {
  const get = (name: string): string | undefined => environment[name]?.trim() || undefined;
  const path = (text: string): string => resolve(expanded(text, environment));
  const home = path(get('HF_HOME') ?? join(get('XDG_CACHE_HOME') ?? '~/.cache', 'huggingface'));
  return {
    cache: path(get('HF_HUB_CACHE') ?? get('HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub')),
    endpoint: endpointOf(get('HF_ENDPOINT') ?? OFFICIAL_ENDPOINT),
    token: isTrue(get('HF_HUB_DISABLE_IMPLICIT_TOKEN'))
      ? undefined
      : tokenOf(get('HF_TOKEN') ?? get('HUGGING_FACE_HUB_TOKEN'), path(get('HF_TOKEN_PATH') ?? join(home, 'token'))),
    offline: isTrue(get('HF_HUB_OFFLINE') ?? get('TRANSFORMERS_OFFLINE')),
    etagTimeoutMs: milliseconds('HF_HUB_ETAG_TIMEOUT', get('HF_HUB_ETAG_TIMEOUT')),
    downloadTimeoutMs: milliseconds('HF_HUB_DOWNLOAD_TIMEOUT', get('HF_HUB_DOWNLOAD_TIMEOUT')),
    symlinks: !isTrue(get('HF_HUB_DISABLE_SYMLINKS')),
    proxies: {
      http: get('http_proxy') ?? get('HTTP_PROXY') ?? get('all_proxy') ?? get('ALL_PROXY'),
      https: get('https_proxy') ?? get('HTTPS_PROXY') ?? get('all_proxy') ?? get('ALL_PROXY'),
      no: get('no_proxy') ?? get('NO_PROXY'),
    },
  };
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && ['1', 'ON', 'YES', 'TRUE'].includes(value.toUpperCase());
}

/** `~` and `$NAME` or `${NAME}` replaced; unknown names stay, as in Python's expandvars. */
function expanded(path: string, environment: Environment): string {
  const home = environment.HOME || homedir();
  return path
    .replace(/^~(?=[/\\]|$)/, () => home)
    .replace(/\$(\w+)|\$\{(\w+)\}/g, (whole, plain?: string, braced?: string) => {
      return environment[plain ?? braced ?? ''] ?? whole;
    });
}

function endpointOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) {
    throw new S3aError(
      'CONFIG',
      'HF_ENDPOINT is not a plain http(s) address',
      `Unset it, or give one such as ${OFFICIAL_ENDPOINT}.`,
    );
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

function tokenOf(given: string | undefined, file: string): string | undefined {
  let token = given?.replace(/[\r\n]/g, '').trim();
  if (!token) {
    try {
      token = readFileSync(file, 'utf8')
        .replace(/[\r\n]/g, '')
        .trim();
    } catch {
      // Nobody is logged in.
      return undefined;
    }
  }
  if (!token) return undefined;
  if (token.length > 4096 || !/^[\x21-\x7e]+$/.test(token)) {
    throw new S3aError(
      'CONFIG',
      `the token ${given ? 'in HF_TOKEN' : `in ${file}`} holds characters that no token has`,
      'Set HF_TOKEN to a token from https://huggingface.co/settings/tokens, or remove it.',
    );
  }
  return token;
}

function milliseconds(name: string, value: string | undefined): number {
  if (value === undefined) return DEFAULT_TIMEOUT_SECONDS * 1000;
  const seconds = Number(value);
  // Longer than a day is beyond what a timer of Node can hold twice over.
  if (!(seconds > 0 && seconds <= 86_400)) {
    throw new S3aError('CONFIG', `${name} = ${value} is not a number of seconds`, 'Unset it, or give one such as 30.');
  }
  return seconds * 1000;
}
