/** Which nodes of a step a GPU's provider leaves to the processor, from ONNX Runtime's own profile of a small one. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SessionOptions } from '../src/engine/index.ts';
import type { Precision } from '../src/train/precision.ts';
import { type Model, prepare } from './engine-work.ts';

/** An event of the profile. */
export interface PlacedEvent {
  readonly name: string;
  readonly args?: {
    readonly op_name?: string;
    readonly provider?: string;
    readonly input_type_shape?: readonly Readonly<Record<string, readonly number[]>>[];
  };
}

/** Runs a step once and tells in a line what the processor did of it. */
export async function leftToProcessor(
  model: Model,
  options: SessionOptions & { precision?: Precision },
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 's3a-placement-'));
  try {
    const work = await prepare(model, 'step', { ...options, profile: join(folder, 'run') });
    try {
      await work.run();
    } finally {
      await work.dispose();
    }
    const events: PlacedEvent[] = [];
    for (const file of await readdir(folder)) {
      events.push(...(JSON.parse(await readFile(join(folder, file), 'utf8')) as PlacedEvent[]));
    }
    return describePlacement(events);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * The operators that ran on the processor, with how often and the largest input of each; scalars are counted together. With how
 * often it waited for a value of the GPU.
 */
export function describePlacement(events: readonly PlacedEvent[]): string {
  const nodes = events.filter(({ name, args }) => name.endsWith('_kernel_time') && args?.provider !== undefined);
  const there = nodes.filter(({ args }) => args!.provider === 'CPUExecutionProvider' && args!.op_name !== 'Loop');
  const large = new Map<string, { count: number; size: number; shape: readonly number[] }>();
  let scalars = 0;
  for (const { args } of there) {
    const shapes = (args!.input_type_shape ?? []).flatMap(types => Object.values(types));
    const sized = shapes.map(shape => ({ shape, size: shape.reduce((a, b) => a * b, 1) }));
    const { shape, size } = sized.reduce((a, b) => (b.size > a.size ? b : a), {
      shape: [] as readonly number[],
      size: 1,
    });
    if (size <= 16) {
      scalars++;
      continue;
    }
    const known = large.get(args!.op_name!) ?? { count: 0, size: 0, shape };
    const largest = size > known.size ? { size, shape } : { size: known.size, shape: known.shape };
    large.set(args!.op_name!, { count: known.count + 1, ...largest });
  }
  const list = [...large].map(([operator, { count, shape }]) => `${count} ${operator} (up to ${shape.join(' x ')})`);
  const rest = `${scalars} nodes of at most 16 values`;
  const what = list.length > 0 ? `${list.join(', ')} and ${rest}` : rest;
  const waits = nodes.filter(({ args }) => args!.op_name === 'MemcpyToHost').length;
  return `of ${nodes.length} nodes the processor has ${what}; it waits for the GPU ${waits} times on the way`;
}
