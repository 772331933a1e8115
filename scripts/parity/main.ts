/** `npm run parity`: s3a beside the Python libraries on random-weight models of the real architectures. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/errors.ts';
import { type Comparison, compareFeatures } from './features.ts';
import type { Distance } from './measure.ts';
import { measureMemory } from './memory.ts';
import { compareSteps } from './steps.ts';

const HELP = `npm run parity -- [options]
  --python PATH   Python with torch, transformers and open_clip_torch (default python3)
  --photos DIR    photographs for the whole path from files to features
  --only TEXT     cases with this text in their names
  --work DIR      where models are made, one after the other (default a temporary folder)
  --keep          do not remove the models
Prints the tables of docs/parity.md.`;

const { values } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    photos: { type: 'string' },
    only: { type: 'string', default: '' },
    work: { type: 'string' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) console.log(HELP);
else await main();

async function main(): Promise<void> {
  const work = values.work ?? (await mkdtemp(join(tmpdir(), 's3a-parity-')));
  const cases = JSON.parse(await python(['record.py', '--list'])) as string[];
  const wanted = cases.filter(name => name.includes(values.only));
  if (wanted.length > 0)
    console.log(`| model | image | text | logits | photographs |\n| --- | --- | --- | --- | --- |`);
  for (const name of wanted) {
    const folder = join(work, name.replaceAll('/', '_'));
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    try {
      await python(['record.py', name, folder, ...(values.photos ? ['--photos', values.photos] : [])]);
      console.log(row(name, await compareFeatures(folder, values.photos)));
    } catch (error) {
      console.log(`| ${name} | failed: ${messageOf(error).split('\n').at(-1)} | | | |`);
      process.exitCode = 1;
    }
    if (!values.keep) await rm(folder, { recursive: true, force: true });
  }
  if ('steps'.includes(values.only)) console.log(await compareSteps(join(work, 'steps'), python));
  if ('memory'.includes(values.only)) console.log(await measureMemory(join(work, 'memory'), python));
  if (values.work === undefined) await rm(work, { recursive: true, force: true });
}

/** Runs a script of this folder and gives what it printed; throws with the last line of its errors. */
async function python(args: readonly string[]): Promise<string> {
  const here = import.meta.url.endsWith('.ts') ? '.' : '../../../scripts/parity';
  const cwd = fileURLToPath(new URL(`${here}/`, import.meta.url));
  const child = spawn(values.python, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, errors]: [string[], string[]] = [[], []];
  child.stdout.setEncoding('utf8').on('data', (text: string) => out.push(text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => errors.push(text));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${args.join(' ')}: ${errors.join('').trim().split('\n').at(-1)}`);
  return out.join('');
}

function row(name: string, { image, text, logits, photos }: Comparison): string {
  return `| ${name} | ${cell(image)} | ${cell(text)} | ${cell(logits)} | ${cell(photos)} |`;
}

/** One minus the cosine, and the relative error: both are too near their best for plain decimals. */
function cell(d: Distance | undefined): string {
  return d === undefined ? '—' : `${(1 - d.cosine).toExponential(1)}, ${d.relative.toExponential(1)}`;
}
