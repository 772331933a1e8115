/** A repository of the hub becomes a folder of the cache: what is missing is downloaded, small files first. */
import { S3aError } from '../errors.ts';
import { cannotWrite, exists, filesIn, repoCache, tagCache } from './cache.ts';
import { readConfigs, smallAmong, tokenizerAmong, type Weights, weightsAmong } from './choose.ts';
import { byHand, explain, isOfTheDisk, leavesCache } from './failures.ts';
import { type Files, fetchFiles, fetchWeights, listFiles, type Opened, type Session, subject } from './fetch.ts';
import { jsonReader, type Look, lookAt, oneFile, type Wanted } from './look.ts';
import { isRepoName, type RepoName, shown } from './names.ts';
import { patiently } from './retry.ts';
import { refuseLarge, revisionOf } from './revision.ts';

/** A model of the hub on this disk. */
export interface Obtained {
  readonly folder: string;
  readonly commit: string;
  readonly weights: Weights;
  /** The folder of the tokenizer, where another repository keeps it. */
  readonly tokenizer?: string;
}

/**
 * Makes sure that the needed files of a model are in the cache.
 *
 * Without a network, or when the hub fails, a complete copy of the revision in the cache is used.
 *
 * Throws S3aError MODEL, HUB_UNREACHABLE, HUB_AUTH, HUB_RATE, HUB_ANSWER, HUB_OFFLINE or WRITE, and the
 * signal's reason.
 */
export async function obtain(session: Session, name: RepoName, wanted: Wanted = {}): Promise<Obtained> {
  const opened = { session, name, wanted, cache: repoCache(session.settings, name.repo) };
  const { commit, look } = await cached(opened);
  if (session.settings.offline) {
    if (commit !== undefined && look?.weights) return obtained(opened, commit, look, look.weights);
    throw offline(opened, look);
  }
  // A commit never changes; without a tokenizer, or with a coarser form alone, it is unknown what else there is.
  const kept = look && asGoodAsAny(look);
  if (commit === name.revision && kept && look.hasTokenizer) return obtained(opened, commit, look, kept);
  try {
    return await online(opened, look?.weights !== undefined);
  } catch (error) {
    session.signal?.throwIfAborted();
    if (isOfTheDisk(error)) throw cannotWrite(opened.cache.folder, error);
    const failure = explain(error, subject(opened));
    if (!leavesCache(error) || commit === undefined || !look?.weights) throw failure;
    session.onWarning?.(`${failure.message}; using the copy of ${name.repo} in the cache`);
    return obtained(opened, commit, look, look.weights);
  }
}

/** The weights that are here, unless another form may be more exact: ONNX files may be of 8 or 16 bits. */
function asGoodAsAny({ weights }: Look): Weights | undefined {
  return weights?.layout === 'onnx' ? undefined : weights;
}

/** What the cache holds of a revision, as far as it is known what that was. */
async function cached({ cache, name, wanted }: Opened): Promise<{ commit?: string; look?: Look }> {
  const commit = await cache.commitOf(name.revision);
  if (commit === undefined || !(await exists(cache.snapshot(commit)))) return {};
  return { commit, look: await lookAt(cache.snapshot(commit), name, wanted) };
}

function offline(opened: Opened, look: Look | undefined): S3aError {
  const { settings } = opened.session;
  const { repo, revision } = opened.name;
  const what = look
    ? `the cached copy of ${repo} lacks ${look.missing}`
    : `${repo}@${revision} is not in ${settings.cache}`;
  return new S3aError(
    'HUB_OFFLINE',
    `${what}, and HF_HUB_OFFLINE is set`,
    `Unset it to download. ${byHand(subject(opened))}`,
  );
}

/** @param spare whether there is a complete copy in the cache, so that one question is enough */
async function online(opened: Opened, spare: boolean): Promise<Obtained> {
  const { session, cache, name, wanted } = opened;
  const { commit, files } = await revisionOf(opened, spare);
  const folder = cache.snapshot(commit);
  // After a kill the part that is here must be found; a complete older copy stays known until the new one is whole.
  if (!spare) await cache.remember(name.revision, commit);
  await fetchSmall(opened, commit, files, smallAmong(files));
  await tagCache(session.settings);

  const look = await lookAt(folder, name, wanted);
  if (look.isClip === false) {
    throw new S3aError(
      'MODEL',
      `${name.repo} is no CLIP or SigLIP: the model_type of its config.json is ${shown(look.modelType ?? '')}`,
      'Needed is clip or siglip, which SigLIP 2 of a fixed resolution is, too; s3a models lists some.',
    );
  }
  // What is here already is used before another form of the same weights is downloaded.
  const weights = asGoodAsAny(look) ?? (await choose(opened, commit, files));
  await fetchWeights(opened, commit, files, weights.files);
  await cache.remember(name.revision, commit);
  return obtained(opened, commit, await lookAt(folder, name, wanted), weights);
}

/** Configs and tokenizers; throws what `refuseLarge` and `fetchFiles` throw. */
async function fetchSmall(opened: Opened, commit: string, files: Files, wanted: readonly string[]): Promise<void> {
  refuseLarge(opened, files, wanted);
  await fetchFiles(opened, commit, files, wanted);
}

/** The best form of the weights that a repository lists. */
async function choose(opened: Opened, commit: string, files: Files): Promise<Weights> {
  const { cache, name, wanted } = opened;
  if (name.file !== undefined) return oneFile(name.file, files);
  const inFolder = jsonReader(cache.snapshot(commit));
  const read = async (file: string): Promise<unknown> => {
    await fetchSmall(opened, commit, files, [file]);
    return inFolder(file);
  };
  const forms = await weightsAmong(files, await readConfigs(files, read), read, wanted.layout);
  const whole = forms.find(form => form.files.every(file => files.has(file)));
  if (whole) return whole;
  const lost = forms[0]?.files.find(file => !files.has(file));
  throw new S3aError(
    'MODEL',
    lost === undefined
      ? `${name.repo} holds no weights of CLIP or SigLIP in a layout that s3a knows`
      : `${name.repo} lacks ${lost}, which its ${forms[0].entry} names`,
    'Needed are config.json with model.safetensors or pytorch_model.bin, open_clip_config.json with ' +
      'open_clip_model.safetensors or open_clip_pytorch_model.bin, or ONNX files in the folder onnx.',
  );
}

async function obtained(opened: Opened, commit: string, { tokenizer }: Look, weights: Weights): Promise<Obtained> {
  const result = { folder: opened.cache.snapshot(commit), commit, weights };
  // open_clip keeps the tokenizer of several SigLIP models in one repository.
  if (tokenizer === undefined || !isRepoName(tokenizer) || tokenizer === opened.name.repo) return result;
  return { ...result, tokenizer: await obtainTokenizer(opened.session, { repo: tokenizer, revision: 'main' }) };
}

/** The folder of a tokenizer, which is all that is wanted of a repository. */
async function obtainTokenizer(session: Session, name: RepoName): Promise<string> {
  const opened = { session, name, wanted: {}, cache: repoCache(session.settings, name.repo) };
  const known = await opened.cache.commitOf(name.revision);
  if (known !== undefined) {
    const folder = opened.cache.snapshot(known);
    if (tokenizerAmong(await filesIn(folder)).length > 0) return folder;
  }
  const failed = (message: string): S3aError =>
    new S3aError('MODEL', message, `Put the tokenizer.json of ${name.repo} beside the model's weights.`);
  const { settings, patience, signal, api } = session;
  if (settings.offline) throw failed(`the tokenizer in ${name.repo} is not in the cache, and HF_HUB_OFFLINE is set`);
  try {
    const commit = await patiently(patience, signal, () => api.commitOf(name, signal));
    const files = await patiently(patience, signal, () => listFiles(opened, commit));
    const wanted = tokenizerAmong(files);
    if (wanted.length === 0) throw failed(`${name.repo} has no tokenizer`);
    await fetchSmall(opened, commit, files, wanted);
    await opened.cache.remember(name.revision, commit);
    return opened.cache.snapshot(commit);
  } catch (error) {
    signal?.throwIfAborted();
    throw explain(error, subject(opened));
  }
}
