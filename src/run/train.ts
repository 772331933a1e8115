/** The train stage (METHOD §3): self-training, then the tuned model and what it calls every image. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { clipParameters } from '../clip/checkpoint/checkpoint.ts';
import { saveCheckpoint } from '../clip/checkpoint/save.ts';
import { exportImageTower } from '../clip/export/onnx.ts';
import { visionParameters } from '../clip/towers/vision.ts';
import { nearestNames } from '../discover/nearest.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { readJson } from '../io/json.ts';
import { readNpyFloat32, writeNpy } from '../io/npy.ts';
import { forgetTracked } from '../track/open.ts';
import { train as selfTrain, type TrainProgress, type TrainResult } from '../train/loop.ts';
import type { Role } from '../train/tower.ts';
import { isWhole } from '../train/tune.ts';
import type { Embedded } from './embed.ts';
import { featuresBy } from './features.ts';
import type { Discovered } from './label.ts';
import { relabelOf } from './method.ts';
import type { Named } from './prototypes.ts';
import { withoutPath } from './scan.ts';
import type { Run } from './store.ts';
import { readColumns, writeColumns } from './tables.ts';
import { type Tracking, trackTraining } from './track.ts';
import { trainSettingsOf, tuneSettingsOf } from './train-settings.ts';

/** What one of the two networks makes of the images. */
export interface Predicted {
  /** [N] vocabulary indices. */
  labels: Int32Array;
  /** [N, D] unit rows of the evaluation view. */
  features: Float32Array;
}

export interface Trained {
  student: Predicted;
  teacher: Predicted;
}

const ROLES = ['student', 'teacher'] as const;

/**
 * Student and teacher with their labels over the whole vocabulary: `model/` (the teacher), `checkpoints/`,
 * `metrics.jsonl`, `predictions.parquet`, `embeddings/{student,teacher}.npy`.
 */
export async function train(
  run: Run,
  embedded: Embedded,
  named: Named,
  { clusters, structural }: Discovered,
): Promise<Trained> {
  const { config } = run;
  const settings = trainSettingsOf(config);
  const tuning = tuneSettingsOf(config);
  const relabel = await relabelOf(run, named.prototypes, embedded.width);
  const inputs = {
    realign: run.keyOf('realign'),
    cluster: run.keyOf('cluster'),
    settings,
    ...(isWhole(tuning) ? {} : { tuning }),
    ...(config.precision === 'fp32' ? {} : { precision: config.precision }),
    ...(relabel ? { vote: run.keyOf('vote') } : {}),
  };
  const artefacts = ['model/config.json', 'predictions.parquet', ...ROLES.map(role => `embeddings/${role}.npy`)];
  await run.stage('train', inputs, artefacts, async key => {
    const clip = await run.clip();
    const { checkpoint, logitScale } = clip;
    // Names are compared again only when all is trained.
    await clip.release();
    const images = visionParameters(checkpoint.config).map(({ name }) => name);
    await forgetOther(run, key);
    const tracking = trackTraining(run);
    const training = selfTrain(
      {
        config: checkpoint.config,
        preprocess: checkpoint.preprocess,
        weights: () => checkpoint.readWeights(images),
        logitScale,
        root: embedded.root,
        files: embedded.files,
        prototypes: named.prototypes,
        structural,
        clusters,
      },
      {
        ...settings,
        ...tuning,
        relabel,
        device: config.device,
        stepsPerExecution: config.stepsPerExecution,
        threads: config.threads,
        workers: config.workers,
        gradCheckpointing: config.gradCheckpointing,
        precision: config.precision,
        cacheBytes: config.cacheBytes,
      },
      { folder: run.folder, report: progress => tell(run, progress, tracking), signal: run.hooks.signal },
    );
    const result = await tracking.during(training);
    if (result.failed.length > 0) warnOfFailed(run, embedded, result.failed);
    const columns: Record<string, Int32Array> = {};
    for (const role of ROLES) columns[role] = await predict(run, embedded, named, role, result.weights);
    await writeColumns(run.path('predictions.parquet'), embedded.files, columns);
    await saveModel(run, await result.weights('teacher'));
    return { steps: result.steps, failed: result.failed.length };
  });
  return readTrained(run);
}

async function readTrained(run: Run): Promise<Trained> {
  const labels = await readColumns(run.path('predictions.parquet'));
  const read = async (role: (typeof ROLES)[number]): Promise<Predicted> => ({
    labels: labels[role],
    features: (await readNpyFloat32(run.path('embeddings', `${role}.npy`))).data,
  });
  return { student: await read('student'), teacher: await read('teacher') };
}

/** Checkpoints and metrics of a training with other inputs would stand in the way of this one. */
async function forgetOther(run: Run, key: string): Promise<void> {
  const path = run.path('checkpoints', 'stage.json');
  const known = existsSync(path) ? ((await readJson(path)) as { key?: unknown }).key : undefined;
  if (known === key) return;
  await rm(run.path('checkpoints'), { recursive: true, force: true });
  await rm(run.path('metrics.jsonl'), { force: true });
  await forgetTracked(run.folder);
  await writeAtomic(path, `${JSON.stringify({ key })}\n`);
}

function warnOfFailed(run: Run, { root, files }: Embedded, failed: TrainResult['failed']): void {
  const [{ index, reason }] = failed;
  const which = failed.length === 1 ? '1 image' : `${failed.length} images`;
  const first = `${files[index]}: ${withoutPath(reason, root, files[index])}`;
  run.warn(`${which} could not be read any more during the training, the first: ${first}`);
}

function tell(run: Run, progress: TrainProgress, tracking: Tracking): void {
  tracking.tell(progress);
  if (progress.kind === 'note') run.warn(progress.message);
  if (progress.kind === 'activations') {
    const { done, total } = progress;
    run.hooks.onEvent?.({ type: 'progress', stage: 'train', done, total, detail: { of: 'kept activations' } });
  }
  if (progress.kind !== 'step') return;
  const { step, steps, epoch, epochs, loss, maskShare, agreement, imagesPerSecond } = progress;
  // The loop itself ends on an abort, with a checkpoint; so this must not throw.
  run.hooks.onEvent?.({
    type: 'progress',
    stage: 'train',
    done: step,
    total: steps,
    detail: {
      epoch: `${epoch + 1}/${epochs}`,
      loss: loss.toFixed(3),
      mask: `${Math.round(100 * maskShare)} %`,
      agreement: `${Math.round(100 * agreement)} %`,
      'images/s': Math.round(imagesPerSecond),
    },
  });
}

/** Embeds all images with tuned weights and names them over the whole vocabulary. */
async function predict(
  run: Run,
  embedded: Embedded,
  { prototypes }: Named,
  role: Role,
  weights: TrainResult['weights'],
): Promise<Int32Array> {
  const { threads, device } = run.config;
  const { files, width } = embedded;
  const features = await featuresBy(run, embedded, () => weights(role), embedded.features);
  await writeNpy(run.path('embeddings', `${role}.npy`), '<f4', [files.length, width], features);
  return (await nearestNames(features, prototypes, { width, threads, device })).indices;
}

/** `model/`: the model with the teacher's image tower, as a Hugging Face folder with the tower in ONNX. */
async function saveModel(run: Run, teacher: Readonly<Record<string, Float32Array>>): Promise<void> {
  const { checkpoint } = await run.clip();
  const { config, preprocess, tokenizerFiles } = checkpoint;
  const kept = clipParameters(config)
    .map(({ name }) => name)
    .filter(name => !(name in teacher));
  const weights = { ...(await checkpoint.readWeights(kept)), ...teacher };
  await exportImageTower(run.path('model'), config, weights);
  await saveCheckpoint(run.path('model'), { config, preprocess, tokenizerFiles, weights });
}
