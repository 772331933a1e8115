/** A run of five images as its stages write it, for tests of what is said about it when the true labels are known. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeNpy } from '../src/io/npy.ts';
import { writeTable } from '../src/io/table.ts';

// Five images in the plane and three names at 0°, 45° and 90°.
const ANGLES = [0, 10, 40, 50, 90];
const NAMES = ['cat', 'dog', 'bird'];

export interface EvaluatedRun {
  readonly run: string;
  /** Writes a file of the run and gives its path. */
  write(name: string, text: string): string;
  /** Writes a table of true labels and gives its path. */
  truth(labels: readonly string[]): string;
  /** Writes the run with these labels. */
  labelTable(labels: string[], confidence: number[]): Promise<void>;
}

export function evaluatedRun(): EvaluatedRun {
  const run = mkdtempSync(join(tmpdir(), 's3a-evaluate-'));
  const write = (name: string, text: string): string => {
    writeFileSync(join(run, name), text);
    return join(run, name);
  };
  return {
    run,
    write,
    truth: labels => write('truth.csv', `file_name,label\n${labels.map((label, i) => `${i}.png,${label}\n`).join('')}`),
    async labelTable(labels, confidence) {
      await writeNpy(join(run, 'embeddings/images.npy'), '<f4', [5, 2], plane(ANGLES));
      await writeNpy(join(run, 'embeddings/teacher.npy'), '<f4', [5, 2], plane(ANGLES));
      await writeNpy(join(run, 'embeddings/prototypes.npy'), '<f4', [3, 2], plane([0, 45, 90]));
      write('embeddings/names.json', JSON.stringify(NAMES));
      write('names.txt', NAMES.join('\n'));
      write('manifest.json', '{}');
      write('config.json', JSON.stringify({ vocab: join(run, 'names.txt'), images: ['x'] }));
      const text = (name: string, values: string[]) => ({ name, type: 'text' as const, values });
      await writeTable(join(run, 'labels.parquet'), [
        text(
          'file_name',
          ANGLES.map((_, i) => `${i}.png`),
        ),
        text('label', labels),
        { name: 'confidence', type: 'float', values: confidence },
        { name: 'cluster', type: 'integer', values: [0, 0, 1, 1, 1] },
        text('zero_shot', ['cat', 'cat', 'dog', 'dog', 'bird']),
        text('vote_1', ['cat', 'cat', 'cat', 'bird', 'bird']),
        // Not what the teacher's features say, so they cannot rank its names.
        text('teacher', ['cat', 'cat', 'cat', 'bird', 'bird']),
      ]);
    },
  };
}

function plane(angles: readonly number[]): Float32Array<ArrayBuffer> {
  return Float32Array.from(angles.flatMap(d => [Math.cos((d * Math.PI) / 180), Math.sin((d * Math.PI) / 180)]));
}
