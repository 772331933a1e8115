/** The model of a run: found on this disk or downloaded, with its progress and its notes told. */
import { type Clip, loadClip } from '../clip/clip.ts';
import type { Config } from '../config/schema.ts';
import { hashFile, hashJson } from '../io/hash.ts';
import type { RunHooks } from './events.ts';

export type ModelSettings = Pick<Config, 'model'> &
  Partial<Pick<Config, 'pretrained' | 'device' | 'threads' | 'embedBatch'>>;

/** Opens a model for `s3a` to embed with; throws as `loadClip`. The caller disposes of it. */
export async function openModel(
  { model, pretrained, device, threads, embedBatch }: ModelSettings,
  { onEvent, signal }: RunHooks,
): Promise<Clip> {
  const clip = await loadClip(model, {
    device,
    threads,
    batch: embedBatch,
    pretrained,
    signal,
    onProgress: ({ file, done, total }) =>
      onEvent?.({ type: 'progress', stage: 'download', done, total, unit: 'bytes', detail: { file } }),
    onWarning: message => onEvent?.({ type: 'warning', message }),
  });
  for (const note of clip.checkpoint.notes) onEvent?.({ type: 'note', message: note });
  return clip;
}

/** Identifies a model: the bytes of its files, and what they were understood as. */
export async function hashOfModel({ checkpoint }: Clip): Promise<string> {
  const { identity, config, preprocess } = checkpoint;
  return hashJson({ files: await Promise.all(identity.map(hashFile)), config, preprocess });
}
