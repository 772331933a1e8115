/** Figures as JSON lines. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { trackerCases } from '../../test/tracker.cases.ts';
import { readJsonl } from '../io/jsonl.ts';
import { createJsonlTracker } from './jsonl.ts';

trackerCases(
  'JSON lines',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 's3a-track-'));
    const path = join(folder, 'below', 'figures.jsonl');
    const warnings: string[] = [];
    const again = () => createJsonlTracker(path, { onWarning: message => warnings.push(message) });
    return {
      tracker: again(),
      warnings,
      again,
      async read() {
        const lines = (existsSync(path) ? await readJsonl(path) : []) as Record<string, unknown>[];
        return {
          scalars: lines.flatMap(({ step, ...values }) =>
            step === undefined
              ? []
              : Object.entries(values).map(([name, value]) => ({ step: Number(step), name, value: Number(value) })),
          ),
          params: Object.assign({}, ...lines.map(({ hparams }) => hparams)) as Record<string, string>,
          texts: Object.fromEntries(
            lines.flatMap(({ name, text }) => (text === undefined ? [] : [[name, text]])),
          ) as Record<string, string>,
        };
      },
      async breakPlace() {
        rmSync(join(folder, 'below'), { recursive: true, force: true });
        writeFileSync(join(folder, 'below'), '');
      },
      dispose: async () => rmSync(folder, { recursive: true, force: true }),
    };
  },
  15,
);
