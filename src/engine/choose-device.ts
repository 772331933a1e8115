/** What `--device auto` takes: CUDA where it opens, otherwise WebGPU on a real GPU, otherwise the processor. */
import { messageOf, S3aError } from '../errors.ts';
import { type Device, type Machine, missing, type Provider, softwareGpu, thisMachine } from './device.ts';
import { input, program } from './graph.ts';
import { matMul } from './ops/index.ts';
import { compile } from './session.ts';

/** A device that was looked at. */
export interface FoundDevice {
  readonly device: Provider;
  /** Undefined where it computes; otherwise why it is not taken. */
  readonly lacks: S3aError | undefined;
}

export interface ChosenDevice {
  readonly device: Provider;
  /** What comes before it, and why it is not that. */
  readonly passed: readonly FoundDevice[];
}

/** In the order in which they are taken. */
const ORDER = ['cuda', 'webgpu', 'cpu'] as const;

let chosen: Promise<ChosenDevice> | undefined;

/**
 * The device that `auto` stands for, found once a process; any other stands for itself and is not tried.
 * @example
 * const { device } = await chooseDevice('auto');
 */
export async function chooseDevice(asked: Device): Promise<ChosenDevice> {
  if (asked !== 'auto') return { device: asked, passed: [] };
  chosen ??= choose();
  return chosen;
}

/** Looks at one device: by its files, and if nothing speaks against it by computing something whose result is known. */
export async function tryDevice(device: Provider, machine: Machine = thisMachine()): Promise<FoundDevice> {
  const lacks = missing(device, machine) ?? (device === 'webgpu' ? software(machine) : undefined);
  return { device, lacks: lacks ?? (device === 'cpu' ? undefined : await failure(device)) };
}

/** Chooses on a machine; `tried` looks at a device of it. */
export async function choose(tried = (device: Provider) => tryDevice(device)): Promise<ChosenDevice> {
  const passed: FoundDevice[] = [];
  for (const device of ORDER) {
    const found = await tried(device);
    if (!found.lacks) return { device, passed };
    passed.push(found);
  }
  return { device: 'cpu', passed: passed.filter(({ device }) => device !== 'cpu') };
}

/** One line: what was taken, and why not what comes before it. */
export function describeChoice({ device, passed }: ChosenDevice): string {
  const why = passed.map(({ device: other, lacks }) => `${other}: ${lacks?.message}`);
  return `--device auto takes ${device}${why.length > 0 ? ` (${why.join('; ')})` : ''}`;
}

function software(machine: Machine): S3aError | undefined {
  if (!softwareGpu(machine)) return undefined;
  return new S3aError('DEVICE', 'this machine has no GPU, at most a program that plays one', 'Use the device cpu.');
}

async function failure(device: Provider): Promise<S3aError | undefined> {
  const a = input('a', 'float32', [2, 2]);
  try {
    const session = await compile(program({ y: matMul(a, a) }), { device });
    try {
      const { y } = await session.run({ a: Float32Array.of(1, 2, 3, 4) });
      if ([7, 10, 15, 22].every((value, i) => y[i] === value)) return undefined;
      return new S3aError('DEVICE', `a product is wrong on ${device}: ${Array.from(y as Float32Array).join(', ')}`);
    } finally {
      await session.dispose();
    }
  } catch (error) {
    return error instanceof S3aError ? error : new S3aError('DEVICE', messageOf(error));
  }
}
