/** Names of models on the hub, checked before they touch an address or a disk. */
import { S3aError } from '../errors.ts';

/** A repository on the hub, and which state of it. */
export interface RepoName {
  /** `org/name`. */
  readonly repo: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** One file of it, when the address of a file was given. */
  readonly file?: string;
}

const DEFAULT_REVISION = 'main';

const FORMS = 'Names of models are org/name, org/name@revision or an address on huggingface.co.';

/** Whether `text` is one full commit id. */
export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}

/** Whether `repo` is `org/name` as the hub allows it. Source: huggingface_hub's validate_repo_id. */
export function isRepoName(repo: string): boolean {
  const parts = repo.split('/');
  const plain = parts.every(part => /^[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?$/.test(part) && part.length <= 96);
  return parts.length === 2 && plain && !/--|\.\./.test(repo) && !repo.endsWith('.git');
}

/** Whether `revision` can be a branch, tag or commit and is harmless below `refs/`. */
export function isRevision(revision: string): boolean {
  // Git's rules for names, and what Windows does not allow in file names.
  return revision.length <= 255 && !/[\p{Cc}\s~^:?*[\]\\<>"|]/u.test(revision) && isRelative(revision, /\.lock$/);
}

/** Whether `path` is one of a file below the root of a repository: relative, with plain segments. */
export function isFilePath(path: string): boolean {
  return path.length <= 1024 && !/[\p{Cc}:\\]/u.test(path) && isRelative(path);
}

function isRelative(path: string, forbidden?: RegExp): boolean {
  const segments = path.split('/');
  const plain = (segment: string): boolean =>
    segment !== '' && segment !== '.' && segment !== '..' && segment.length <= 200 && !forbidden?.test(segment);
  return segments.length <= 32 && segments.every(plain);
}

/** Whether `text` can only be meant as a path on this machine. */
export function looksLikePath(text: string): boolean {
  return (
    /^(?:\.{1,2}(?:[/\\]|$)|[/\\]|~(?:[/\\]|$)|[A-Za-z]:[/\\])/.test(text) ||
    /\\|\/$|\.(?:safetensors|bin|pt|pth|onnx|json)$/i.test(text) ||
    (text.split('/').length > 2 && !/[:@]/.test(text))
  );
}

/**
 * Reads `org/name`, `org/name@revision`, `hf-hub:org/name[@revision]` or an address on the hub.
 * @param hosts the hosts whose addresses are read
 *
 * Throws S3aError MODEL for anything else.
 */
export function parseRepoName(spec: string, hosts: readonly string[] = ['huggingface.co', 'hf.co']): RepoName {
  if (/^[a-z]+:\/\//i.test(spec)) return parseAddress(spec, hosts);
  const text = spec.replace(/^hf-hub:/, '');
  const at = text.indexOf('@');
  const repo = at < 0 ? text : text.slice(0, at);
  return checked(spec, { repo, revision: at < 0 ? DEFAULT_REVISION : text.slice(at + 1) });
}

function parseAddress(address: string, hosts: readonly string[]): RepoName {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || !hosts.includes(url.host)) {
    throw new S3aError('MODEL', `${shown(address)} is not an address of a model on ${hosts[0]}`, FORMS);
  }
  const [org = '', name = '', kind, ...rest] = url.pathname.split('/').filter(Boolean).map(decoded);
  if (['datasets', 'spaces', 'collections', 'papers', 'docs'].includes(org)) {
    throw new S3aError('MODEL', `${shown(address)} is the address of something else than a model`, FORMS);
  }
  const repo = `${org}/${name}`;
  if (kind === undefined) return checked(address, { repo, revision: DEFAULT_REVISION });
  // The hub's own refs, such as refs/pr/3, have three parts.
  const [revision = DEFAULT_REVISION, ...path] =
    rest[0] === 'refs' && rest.length > 2 ? [rest.slice(0, 3).join('/'), ...rest.slice(3)] : rest;
  if (['tree', 'commit'].includes(kind) && path.length === 0) return checked(address, { repo, revision });
  if (['blob', 'resolve'].includes(kind) && path.length > 0) {
    return checked(address, { repo, revision, file: path.join('/') });
  }
  throw new S3aError('MODEL', `${shown(address)} is not the address of a whole model or of one file`, FORMS);
}

function checked(spec: string, name: RepoName): RepoName {
  if (!isRepoName(name.repo)) {
    throw new S3aError(
      'MODEL',
      `${shown(spec)} is not the name of a model: ${shown(name.repo)} is not org/name`,
      FORMS,
    );
  }
  if (!isRevision(name.revision)) {
    throw new S3aError('MODEL', `${shown(name.revision)} is not a revision of ${name.repo}`, FORMS);
  }
  if (name.file !== undefined && !isFilePath(name.file)) {
    throw new S3aError('MODEL', `${shown(name.file)} is not a file of ${name.repo}`, FORMS);
  }
  return name;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** A text from outside, short and on one line. */
export function shown(text: string): string {
  const plain = text.replace(/\p{Cc}/gu, '?');
  return plain.length > 120 ? `${plain.slice(0, 120)}…` : plain || '""';
}
