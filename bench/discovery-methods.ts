/** `npm run bench -- methods`: how much each part of discovery is worth, on draws with known truth. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadClip } from '../src/clip/clip.ts';
import { confidences } from '../src/discover/confidence.ts';
import { labelShares } from '../src/discover/probability.ts';
import { S3aError } from '../src/errors.ts';
import { writeAtomic } from '../src/io/atomic-write.ts';
import { hashJson } from '../src/io/hash.ts';
import { readJson } from '../src/io/json.ts';
import { type Bench, type Context, hashOfCode, openBench, openContext } from './discovery-context.ts';
import { DRAW_KINDS, type DrawKind } from './discovery-draws.ts';
import { reliabilityFigure } from './discovery-figure.ts';
import { fitCalibration } from './discovery-fit.ts';
import { MIXTURE_KINDS, openMixture } from './discovery-mixture.ts';
import { type Scores, scoresOf, type Trust, trustOf } from './discovery-scores.ts';
import { type Measured, summaryTable, thresholdTable, trustTable, wholeTable } from './discovery-tables.ts';
import { VARIANTS, type Variant } from './discovery-variants.ts';

const usage = `npm run bench -- methods [options]
  --seeds A-B,C    draws: 100-109 chose the defaults, 200-209 are those of docs/discovery.md (default 100-109)
  --methods LIST   rows as the tables name them, or whole groups: whole, alone, left out, added (default all)
  --kinds LIST     kinds of draws by number (0-${DRAW_KINDS.length - 1}; default all)
  --mixture        seeded features of 20,071 names instead of drawings (methods without prompts or glosses)
  --model DIR      a model whose vocabulary is that of the demo (default demo)
  --cache DIR      what is computed once (default .cache/methods)
  --threads N      default 1
  --fit            fit the constants of confidence on these draws and print them
  --figure FILE    draw the reliability of auto's confidences as SVG
  --json           one JSON object on stdout instead of the tables`;

// Methods whose confidences are judged.
const JUDGED = new Set(['auto', 's3a', 'vote × 3']);

export async function benchMethods(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      seeds: { type: 'string', default: '100-109' },
      methods: { type: 'string' },
      kinds: { type: 'string' },
      mixture: { type: 'boolean', default: false },
      model: { type: 'string', default: 'demo' },
      cache: { type: 'string', default: join('.cache', 'methods') },
      threads: { type: 'string', default: '1' },
      fit: { type: 'boolean', default: false },
      figure: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return;
  }
  const seeds = numbers(values.seeds, 'seeds');
  const known = values.mixture ? MIXTURE_KINDS : DRAW_KINDS;
  const kinds = values.kinds ? numbers(values.kinds, 'kinds').map(index => kindAt(known, index)) : known;
  const wanted = values.methods?.split(',');
  const variants = VARIANTS.filter(({ name, group }) => !wanted || wanted.includes(name) || wanted.includes(group));
  if (variants.length === 0) throw new S3aError('CONFIG', `no method is called ${values.methods}`, usage);
  const threads = Number(values.threads);
  const clip = await loadClip(values.model, { batch: 128, threads });
  try {
    const bench = await openBench(clip, values.cache, threads);
    if (values.fit) {
      console.log(JSON.stringify(await fitCalibration(bench, seeds, kinds), null, 2));
      return;
    }
    const measured = await measureAll(bench, seeds, kinds, variants);
    if (values.figure) await writeAtomic(values.figure, reliabilityFigure(measured, 'auto'));
    if (values.json) console.log(JSON.stringify({ bench: 'methods', seeds, model: values.model, measured }));
    else console.log(pageOf(measured));
  } finally {
    await clip.dispose();
  }
}

function pageOf(measured: readonly Measured[]): string {
  const parts: [string, string][] = [['Top-1 / cluster accuracy / name recall', wholeTable(measured)]];
  for (const group of ['whole', 'alone', 'left out', 'added'] as const) {
    if (measured.some(row => row.group === group)) parts.push([`Methods: ${group}`, summaryTable(measured, group)]);
  }
  if (measured.some(row => row.trust)) {
    parts.push(['Mean confidence / accuracy / expected calibration error', trustTable(measured)]);
  }
  if (measured.some(row => row.method === 'auto' && row.trust)) {
    parts.push(['auto with --min-confidence', thresholdTable(measured, 'auto')]);
  }
  return parts.map(([title, text]) => `${title}\n\n${text}\n`).join('\n');
}

/** Everything that is not in the cache, draw by draw; how far it is goes to stderr. */
async function measureAll(
  bench: Bench,
  seeds: readonly number[],
  kinds: readonly DrawKind[],
  variants: readonly Variant[],
): Promise<Measured[]> {
  const code = await codeKey();
  const folder = join(bench.folder, 'results', code);
  await mkdir(folder, { recursive: true });
  const measured: Measured[] = [];
  const total = seeds.length * kinds.length;
  const started = performance.now();
  let [done, computed] = [0, 0];
  for (const seed of seeds) {
    for (const kind of kinds) {
      let context: Context | undefined;
      for (const variant of variants) {
        const path = join(folder, `${hashJson([seed, kind, variant.key]).slice(0, 24)}.json`);
        if (!existsSync(path)) {
          context ??= await (kind.mixture ? openMixture : openContext)(bench, seed, kind);
          await writeAtomic(path, JSON.stringify(await measure(context, variant)));
        }
        const { scores, trust } = (await readJson(path)) as { scores: Scores; trust?: Trust };
        measured.push({ method: variant.name, group: variant.group, kind: kind.name, seed, scores, trust });
      }
      done++;
      if (context) computed++;
      const left = (((performance.now() - started) / Math.max(1, computed)) * (total - done)) / 60_000;
      process.stderr.write(`\r${done} of ${total} draws, about ${left.toFixed(1)} minutes left   `);
    }
  }
  process.stderr.write('\n');
  return measured;
}

async function measure(context: Context, variant: Variant): Promise<{ scores: Scores; trust?: Trust }> {
  // Clusters are made before; processor time of all threads says more than a clock on a machine that does other work.
  await variant.prepare(context);
  const started = process.cpuUsage();
  const labels = await variant.label(context);
  const { user, system } = process.cpuUsage(started);
  const scores = scoresOf(context, labels, (user + system) / 1e6);
  if (!JUDGED.has(variant.name)) return { scores };
  return { scores, trust: trustOf(context, labels, await confidenceOf(context, labels)) };
}

async function confidenceOf(context: Context, labels: Int32Array): Promise<Float32Array> {
  const { features, prototypes, bench } = context;
  const options = { width: bench.width, scale: bench.scale, threads: bench.threads };
  const shares = await labelShares(features, prototypes, labels, options);
  return confidences(labels, shares, await context.graph(10));
}

/** Changes with the code that is measured, so that no result of another is taken for it. */
function codeKey(): Promise<string> {
  const bench = /^discovery-(context|draws|mixture|scores)\./;
  return hashOfCode([
    ['.', bench],
    ['../src/discover', /./],
    ['../src/llm', /./],
    ['../src/evaluate', /^clustering\./],
  ]);
}

function numbers(text: string, what: string): number[] {
  return text.split(',').flatMap(part => {
    const [from, to = from] = part.split('-').map(Number);
    if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to - from < 10_000)) {
      throw new S3aError('CONFIG', `--${what} ${text} is no list of numbers`, 'Write it as 100-109,200.');
    }
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

function kindAt(kinds: readonly DrawKind[], index: number): DrawKind {
  if (index < kinds.length) return kinds[index];
  throw new S3aError('CONFIG', `there is no kind ${index} of draws`, `They are 0 to ${kinds.length - 1}.`);
}
