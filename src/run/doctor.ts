/** Whether this machine can do the work: versions, processor, memory, disk, and a computation whose result is known. */
import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { dirname, resolve } from 'node:path';
import sharp from 'sharp';
import {
  chooseDevice,
  compile,
  type Device,
  gradient,
  input,
  matMul,
  mul,
  type Provider,
  program,
  sum,
  tryDevice,
} from '../engine/index.ts';
import { messageOf, S3aError } from '../errors.ts';
import { versions } from './manifest.ts';

/** One thing that was looked at. */
export interface Check {
  name: string;
  ok: boolean;
  /** What was found, or what is wrong. */
  detail: string;
  hint?: string;
}

export interface DoctorReport {
  ok: boolean;
  checks: Check[];
}

export interface DoctorOptions {
  /** Devices to compute on; default cpu. */
  devices?: readonly Device[];
  /** Folder that runs are written to; default the current one. */
  folder?: string;
}

const GIB = 2 ** 30;
const LEAST_NODE = [20, 19];

/** Looks at everything and never throws: what fails is a check that is not ok. */
export async function doctor({ devices = ['cpu'], folder = '.' }: DoctorOptions = {}): Promise<DoctorReport> {
  const checks = [
    await check('versions', async () => checkVersions()),
    await check(
      'processor',
      async () => `${cpus()[0]?.model.trim() ?? process.arch}, ${availableParallelism()} threads`,
    ),
    await check('memory', async () => checkMemory()),
    await check('disk', () => checkDisk(folder)),
    await check('images', checkSharp),
    await check('devices', checkDevices),
    ...(await Promise.all(devices.map(device => check(`compute on ${device}`, () => checkDevice(device))))),
    await check('environment', async () => environment()),
  ];
  return { ok: checks.every(({ ok }) => ok), checks };
}

async function check(name: string, look: () => Promise<string>): Promise<Check> {
  try {
    return { name, ok: true, detail: await look() };
  } catch (error) {
    return { name, ok: false, detail: messageOf(error), hint: error instanceof S3aError ? error.hint : undefined };
  }
}

function checkVersions(): string {
  const found = versions();
  const [major, minor] = found.node.split('.').map(Number);
  if (major < LEAST_NODE[0] || (major === LEAST_NODE[0] && minor < LEAST_NODE[1])) {
    throw new S3aError(
      'DOCTOR',
      `Node.js ${found.node} is too old`,
      `Install Node.js ${LEAST_NODE.join('.')} or newer.`,
    );
  }
  return Object.entries(found)
    .map(([part, version]) => `${part} ${version}`)
    .join(', ');
}

function checkMemory(): string {
  const detail = `${(freemem() / GIB).toFixed(1)} of ${(totalmem() / GIB).toFixed(1)} GiB free`;
  if (totalmem() >= 2 * GIB) return detail;
  throw new S3aError('DOCTOR', `${detail}: too little for anything but the demo`, 'Use a smaller --batch-size.');
}

async function checkDisk(folder: string): Promise<string> {
  let place = resolve(folder);
  while (!existsSync(place)) place = dirname(place);
  const { bavail, bsize } = await statfs(place);
  const free = bavail * bsize;
  const detail = `${(free / GIB).toFixed(1)} GiB free in ${place}`;
  if (free >= GIB / 2) return detail;
  throw new S3aError('DOCTOR', detail, 'Free some space: a run holds features, checkpoints and a model.');
}

/** A PNG there and back. */
async function checkSharp(): Promise<string> {
  const pixels = Uint8Array.from({ length: 12 }, (_, i) => i * 20);
  const png = await sharp(pixels, { raw: { width: 2, height: 2, channels: 3 } })
    .png()
    .toBuffer();
  const { data } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  if (!data.every((value, i) => value === pixels[i])) throw new S3aError('DOCTOR', 'sharp decodes a PNG wrongly');
  return 'decoding works';
}

/** What `--device auto` takes, and what a GPU lacks to be used. A machine without one is well. */
async function checkDevices(): Promise<string> {
  const { device } = await chooseDevice('auto');
  const gpus: Provider[] = ['cuda', 'webgpu'];
  const found = await Promise.all(gpus.map(gpu => tryDevice(gpu)));
  const parts = found.map(({ device: gpu, lacks }) =>
    lacks ? `${gpu} is not there: ${[lacks.message, lacks.hint].filter(Boolean).join('. ')}` : `${gpu} computes`,
  );
  return [`--device auto takes ${device}`, ...parts].join('; ');
}

/** y = Σ (a·b)² and its gradient by a, against numbers worked out by hand. */
async function checkDevice(device: Device): Promise<string> {
  const a = input('a', 'float32', [1, 2]);
  const product = matMul(a, input('b', 'float32', [2, 2]));
  const y = sum(mul(product, product));
  const [da] = gradient(y, [a]);
  const session = await compile(program({ y, da }), { device });
  try {
    // a·b = [1, 2]·[[1, 2], [3, 4]] = [7, 10]; y = 149; 2·[7, 10]·bᵀ = [54, 122].
    const results = await session.run({ a: Float32Array.of(1, 2), b: Float32Array.of(1, 2, 3, 4) });
    const found = [results.y[0], ...results.da].map(Number);
    if ([149, 54, 122].every((value, i) => Math.abs(found[i] - value) < 1e-3))
      return 'a product and its gradient are right';
    throw new S3aError('DOCTOR', `wrong results: ${found.join(', ')} instead of 149, 54, 122`, 'Use another --device.');
  } finally {
    await session.dispose();
  }
}

/** Which of the variables that matter are set; the values of keys and tokens are not shown. */
function environment(): string {
  const shown = ['HF_HOME', 'HF_HUB_CACHE', 'HF_ENDPOINT', 'HF_HUB_OFFLINE', 'S3A_LLM_BASE_URL', 'OPENAI_BASE_URL'];
  const secret = ['HF_TOKEN', 'S3A_LLM_KEY', 'OPENAI_API_KEY'];
  const set = [
    ...shown.filter(name => process.env[name]).map(name => `${name}=${process.env[name]}`),
    ...secret.filter(name => process.env[name]).map(name => `${name} is set`),
  ];
  return set.length > 0 ? set.join(', ') : 'no Hugging Face or language model variables are set';
}
