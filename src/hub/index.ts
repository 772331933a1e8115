/** Where models come from: a name becomes a folder on this disk. */
import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, resolve } from 'node:path';
import { S3aError } from '../errors.ts';
import { createHubApi } from './api.ts';
import { type Environment, hubSettings } from './environment.ts';
import type { DownloadProgress, Session } from './fetch.ts';
import { createHttpClient } from './http.ts';
import { sameName } from './known-models.ts';
import { looksLikePath, parseRepoName, type RepoName, shown } from './names.ts';
import { obtain } from './obtain.ts';
import { obtainFiles, type WantedFiles } from './obtain-files.ts';
import { isOpenClipArchitecture, openClipName, plainName } from './open-clip-names.ts';
import { PATIENCE, type Patience } from './retry.ts';

export { KNOWN_MODELS, type KnownModel } from './known-models.ts';
export { type CachedModel, listCached } from './list.ts';
export { isOpenClipArchitecture, openClipName } from './open-clip-names.ts';
export type { DownloadProgress, Environment, Patience, WantedFiles };

/** How a name of a model is understood and what is told on the way. */
export interface ResolveOptions {
  /** open_clip's tag of pre-trained weights, or a file with them, for a name of open_clip's. */
  readonly pretrained?: string;
  /** How far the download of the weights is; not called when nothing is to download. */
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Told in one sentence when a cached copy is used because the hub does not answer. */
  readonly onWarning?: (message: string) => void;
  readonly signal?: AbortSignal;
  readonly env?: Environment;
  readonly patience?: Patience;
}

/** A model on this disk. */
export interface ModelPlace {
  readonly folder: string;
  /** The file in the folder that holds the weights, or their index; undefined when the folder says it itself. */
  readonly weights?: string;
  /** `org/name` of a model from the hub. */
  readonly repo?: string;
  /** The commit of a model from the hub. */
  readonly revision?: string;
  /** open_clip's architecture, when the model was asked for by it; ends in `-quickgelu` where the weights need that. */
  readonly architecture?: string;
  /** The folder of the tokenizer, where it is another one. */
  readonly tokenizer?: string;
}

/**
 * Finds a model, and downloads it when it is not here: a local folder or file, `org/name[@revision]`, `hf-hub:org/name`,
 * an address on the hub, or a name of open_clip's with `pretrained`.
 *
 * Throws S3aError MODEL for a name that is none, CONFIG for settings that cannot be meant, HUB_UNREACHABLE, HUB_AUTH,
 * HUB_RATE, HUB_ANSWER and HUB_OFFLINE for what the hub does, WRITE for the cache, and the signal's reason.
 */
export async function resolveModel(spec: string, options: ResolveOptions = {}): Promise<ModelPlace> {
  const { pretrained } = options;
  const local = await localPlace(spec);
  // A folder that happens to be called ViT-B-32 is not what --pretrained is about.
  if (local && !(pretrained !== undefined && isOpenClipArchitecture(spec))) {
    if (pretrained === undefined) return local;
    throw notOpenClip(spec);
  }
  if (isOpenClipArchitecture(spec)) {
    const file = pretrained === undefined ? undefined : await localPlace(pretrained);
    if (file) return { ...file, architecture: plainName(spec) };
    const { repo, architecture } = openClipName(spec, pretrained);
    const place = await fromHub({ repo, revision: 'main' }, options, true);
    return { ...place, architecture };
  }
  if (looksLikePath(spec) && !/^(?:hf-hub:|[a-z]+:\/\/)/i.test(spec)) {
    throw new S3aError(
      'MODEL',
      `there is no file or folder ${shown(spec)}`,
      'Check the path, or give a name on the hub such as openai/clip-vit-base-patch16.',
    );
  }
  if (pretrained !== undefined) throw notOpenClip(spec);
  return fromHub(named(spec, options), options, false);
}

function notOpenClip(spec: string): S3aError {
  return new S3aError(
    'CONFIG',
    `--pretrained goes with a name of open_clip's such as ViT-B-32, not with ${shown(spec)}`,
    'Leave it out: what is at that place says itself what it is.',
  );
}

function named(spec: string, { env }: ResolveOptions): RepoName {
  const plain = spec.replace(/^hf-hub:/, '').replace(/@.*$/s, '');
  if (!plain.includes('/') && /^[\w.-]+$/.test(plain)) {
    const near = sameName(plain);
    const hint = near ? `Did you mean ${near}?` : 'Names on the hub are org/name; s3a models lists the usual ones.';
    throw new S3aError('MODEL', `there is no file or folder ${shown(spec)}`, hint);
  }
  const { endpoint } = hubSettings(env);
  return parseRepoName(spec, ['huggingface.co', 'hf.co', new URL(endpoint).host]);
}

function fromHub(name: RepoName, options: ResolveOptions, openClip: boolean): Promise<ModelPlace> {
  return withHub(options, async session => {
    const found = await obtain(session, name, openClip ? { layout: 'open_clip' } : {});
    const { folder, commit, weights, tokenizer } = found;
    const place = { folder, repo: name.repo, revision: commit, ...(tokenizer ? { tokenizer } : {}) };
    // Two towers in two files have no one file that stands for them.
    return weights.entry.includes('vision_model') ? place : { ...place, weights: weights.entry };
  });
}

/**
 * Finds a folder with some files of a model that is no CLIP: a local folder, `org/name[@revision]` or an address on the hub.
 *
 * Throws S3aError MODEL for a name that is none or a repository that lacks a file, and as `resolveModel`. What a local folder
 * holds is not looked at.
 */
export async function resolveFiles(
  spec: string,
  wanted: WantedFiles,
  options: Omit<ResolveOptions, 'pretrained'> = {},
): Promise<ModelPlace> {
  const local = await localPlace(spec);
  if (local && local.weights === undefined) return local;
  if (local || (looksLikePath(spec) && !/^(?:hf-hub:|[a-z]+:\/\/)/i.test(spec))) {
    throw new S3aError('MODEL', `there is no folder ${shown(spec)}`, 'Check the path, or give an org/name on the hub.');
  }
  const name = parseRepoName(spec, ['huggingface.co', 'hf.co', new URL(hubSettings(options.env).endpoint).host]);
  return withHub(options, async session => {
    const { folder, commit } = await obtainFiles(session, name, wanted);
    return { folder, repo: name.repo, revision: commit };
  });
}

async function withHub<T>(options: ResolveOptions, work: (session: Session) => Promise<T>): Promise<T> {
  const settings = hubSettings(options.env);
  const client = createHttpClient(settings);
  const { patience = PATIENCE, signal, onProgress, onWarning } = options;
  const api = createHubApi(client, settings);
  try {
    return await work({ settings, client, api, patience, signal, onProgress, onWarning });
  } finally {
    client.close();
  }
}

/** A folder or file that exists; undefined for anything else. */
async function localPlace(spec: string): Promise<ModelPlace | undefined> {
  const text = spec.replace(/^local-dir:/, '').replace(/^~(?=[/\\]|$)/, homedir());
  if (text === '' || text.includes('\0')) return undefined;
  const path = resolve(text);
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) return { folder: path };
  return found?.isFile() ? { folder: dirname(path), weights: basename(path) } : undefined;
}
