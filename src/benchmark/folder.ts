/** The folder of a benchmark: what was asked for is kept in it, so that it can go on with `--resume` alone. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { type ConfigInput, parsePartialConfig } from '../config/schema.ts';
import { S3aError } from '../errors.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { readJson } from '../io/json.ts';

const names = () => z.array(z.string());

const orderSchema = z.strictObject({
  data: z.string().optional(),
  partial: z.boolean().optional(),
  methods: names().optional(),
  ablations: names().optional(),
  seeds: z.array(z.int().min(0)).optional(),
  trained: z.boolean().optional(),
  semanticModel: z.string().optional(),
  settings: z.record(z.string(), z.unknown()),
});

/** What a benchmark is asked to do, as far as it was said. */
export interface BenchOrder extends Omit<z.output<typeof orderSchema>, 'settings'> {
  settings: ConfigInput;
}

/**
 * What is to be done in a folder: with what was asked for there before; what is asked for anew wins, and ablations are added.
 * @throws S3aError RUN_EXISTS when there is a benchmark and `resume` is not set, RUN when the folder holds something else
 */
export async function readOrder(folder: string, order: BenchOrder, resume: boolean): Promise<BenchOrder> {
  const path = join(folder, 'bench.json');
  let wanted = order;
  if (existsSync(path)) {
    if (!resume) {
      const hint = 'Go on with it by --resume, or choose another --out.';
      throw new S3aError('RUN_EXISTS', `${folder} holds a benchmark already`, hint);
    }
    const parsed = orderSchema.safeParse(await readJson(path));
    if (!parsed.success) throw new S3aError('RUN', `${path} is not that of a benchmark`, 'Choose another --out.');
    const { settings, ...before } = parsed.data;
    const given = Object.fromEntries(Object.entries(order).filter(([, value]) => value !== undefined));
    wanted = {
      ...before,
      ...given,
      ablations: [...new Set([...(before.ablations ?? []), ...(order.ablations ?? [])])],
      settings: { ...parsePartialConfig(settings, path), ...order.settings },
    };
  } else if (existsSync(folder) && readdirSync(folder).length > 0) {
    throw new S3aError('RUN', `${folder} is not empty and not a benchmark`, 'Choose another --out.');
  }
  return wanted;
}

/** Keeps it for `--resume`; makes the folder. */
export async function keepOrder(folder: string, order: BenchOrder): Promise<void> {
  await writeAtomic(join(folder, 'bench.json'), `${JSON.stringify(order, null, 2)}\n`);
}
