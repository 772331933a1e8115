/** `s3a bench`: methods beside each other on published protocols. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { ABLATIONS } from '../../benchmark/ablations/index.ts';
import { type BenchOptions, bench } from '../../benchmark/bench.ts';
import { comparisonTable } from '../../benchmark/comparison.ts';
import { DEFAULT_METHODS, METHODS } from '../../benchmark/methods/index.ts';
import type { BenchResults } from '../../benchmark/results.ts';
import { ablationRows, tableRows } from '../../benchmark/table.ts';
import { resolveOverrides } from '../../config/resolve.ts';
import { S3aError } from '../../errors.ts';
import { SEMANTIC_MODEL } from '../../evaluate/sentence-encoder.ts';
import { writeAtomic } from '../../io/atomic-write.ts';
import { addCommon, type CommonOptions, type Context, perform, quoted } from '../context.ts';
import { addSettings, settingSources } from '../flags.ts';
import { table } from '../format.ts';

interface BenchFlags extends CommonOptions {
  data?: string;
  methods?: string[];
  ablation?: string[];
  seeds?: number[];
  out?: string;
  resume?: boolean;
  partial?: boolean;
  trained?: boolean;
  keepRuns?: boolean;
  semanticModel?: string | true;
}

/** Features of another encoder are no images, and each method says by itself how it finds names. */
const NOT_HERE: ReadonlySet<string> = new Set(['embeddings', 'prototypes', 'names', 'rows', 'method']);

/** `s3a bench`, which prints a table of methods or, with --json, their results. */
export function benchCommand(context: Context): Command {
  const command = new Command('bench')
    .description('Compare methods on a data set with known labels, which only the comparison opens.')
    .argument('<protocol...>', 'data sets by name (docs/protocols.md), .json files, or icons, which are drawn')
    .option('--data <folder>', 'Where the files of the data set lie; for icons where the drawings are kept')
    .option('--methods <list>', `Comma-separated (default: ${DEFAULT_METHODS.join(',')})`, words)
    .option('--ablation <list>', 'Comma-separated, of the first protocol; all for every one of them', words)
    .option('--seeds <list>', 'Comma-separated (default: 0)', numbers)
    .option('--out <folder>', 'Folder of the results (default: runs/bench- and the protocol)')
    .option('--resume', 'Go on with what is in that folder; what is finished is not computed again')
    .option('--partial', 'Take what is there of a data set that is not whole')
    .option('--trained', 'Train in the ablations of discovery too (k, prompts, vocabulary)')
    .option('--keep-runs', 'Keep the run folders of trained methods, with their models')
    .option(
      '--semantic-model [name]',
      `Score names by their meaning too: a folder or a name on the hub (default: ${SEMANTIC_MODEL})`,
    );
  addSettings(addCommon(command), ({ key }) => !NOT_HERE.has(key)).addHelpText('after', about());
  return command.action(async (protocols: string[], flags: BenchFlags) => {
    const { out = join('runs', `bench-${protocols[0].replace(/\.json$/, '').replaceAll(/[/\\]/g, '-')}`) } = flags;
    if (out === '') throw new S3aError('CONFIG', 'the folder of the results has no name', 'Name it with --out.');
    const { data, methods, seeds, resume, partial, trained, keepRuns } = flags;
    const semanticModel = flags.semanticModel === true ? SEMANTIC_MODEL : flags.semanticModel;
    const sources = settingSources(command);
    // The protocol knows K; a preset that says how to estimate it is not asked.
    const { k: _, ...settings } = await resolveOverrides(sources);
    const { k } = sources.flags ?? {};
    const ablations = flags.ablation?.includes('all') ? ABLATIONS.map(({ name }) => name) : flags.ablation;
    const common = { data, methods, seeds, resume, partial, trained, keepRuns, semanticModel };
    const goOn = ['s3a', 'bench', ...protocols, '--out', out, '--resume'].map(quoted).join(' ');
    await perform(
      context,
      flags,
      goOn,
      async hooks => {
        await registerDrawn(protocols);
        const all: BenchResults[] = [];
        for (const [i, protocol] of protocols.entries()) {
          const order: BenchOptions = {
            ...common,
            protocol,
            out: protocols.length === 1 ? out : join(out, nameOf(protocol)),
            ...(i === 0 && { ablations }),
            settings: { ...settings, ...(k !== undefined && { k }) },
          };
          if (protocols.length > 1) hooks.onEvent?.({ type: 'note', message: `${protocol} → ${order.out}` });
          all.push(await bench(order, hooks));
          if (protocols.length > 1) await writeAtomic(join(out, 'table.md'), comparisonTable(all));
        }
        return protocols.length === 1 ? all[0] : all;
      },
      results => `${[results].flat().map(show).join('\n')}Everything is in ${out}\n`,
    );
  });
}

/** Makes `icons` known, which a checkout of the repository can draw; the published package has no artwork. */
async function registerDrawn(protocols: readonly string[]): Promise<void> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const module = new URL(`../../../demo/icons-protocol.${extension}`, import.meta.url);
  if (!existsSync(fileURLToPath(module))) {
    if (!protocols.some(name => /^icons\b/i.test(name) && !name.endsWith('.json'))) return;
    throw new S3aError(
      'PROTOCOL',
      'the drawings of icons are in the repository of s3a, not in its npm package',
      'Clone the repository, npm ci, and use its npx s3a bench; docs/benchmarks.md says more.',
    );
  }
  const { registerIcons } = (await import(module.href)) as { registerIcons(): void };
  registerIcons();
}

function show(results: BenchResults): string {
  const { protocol, cells, ablations, seeds, table: lines } = results;
  const main = tableRows(lines, seeds.length);
  return [
    `${protocol.title}: ${protocol.images.train} training, ${protocol.images.test} test images, K = ${protocol.k}\n\n`,
    table(main.header, main.rows),
    ...ablations
      .filter(({ variants }) => variants.length > 0)
      .map(({ title, variants }) => {
        const { header, rows } = ablationRows(variants, seeds.length);
        return `\n${title}\n\n${table(header, rows)}`;
      }),
    cells.done < cells.wanted ? `\nIncomplete: ${cells.done} of ${cells.wanted} cells are there.\n` : '',
  ].join('');
}

function about(): string {
  const lines = (list: readonly { name: string; about: string }[]): string =>
    list.map(({ name, about: text }) => `  ${name.padEnd(15)}${text}`).join('\n');
  return `
Methods:
${lines(METHODS)}

Ablations:
${lines(ABLATIONS.map(({ name, title }) => ({ name, about: title })))}

Settings that are not given are those of the protocol; K is the true one unless --k is given.

Examples:
  s3a bench living17 --data /data/imagenet --preset paper --seeds 0,1,2
  s3a bench stanford-dogs --data /data/dogs --methods clip,bound,s3a --ablation k
  s3a bench icons --model demo --preset quick --epochs 6 --seeds 0,1,2,3,4`;
}

function nameOf(protocol: string): string {
  return protocol
    .replace(/\.json$/, '')
    .split(/[/\\]/)
    .at(-1)!;
}

function words(text: string): string[] {
  const list = text.split(',').map(word => word.trim());
  if (list.some(word => word === '')) throw new InvalidArgumentError('It must be words with commas between them.');
  return list;
}

function numbers(text: string): number[] {
  const list = words(text).map(Number);
  if (!list.every(n => Number.isInteger(n) && n >= 0 && n < 2 ** 31)) {
    throw new InvalidArgumentError('It must be whole numbers from 0 with commas between them.');
  }
  return list;
}
