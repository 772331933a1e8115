/** Event files against tensorboard's own bytes, by a strict reader, and by tensorboard itself where there is one. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { eventFiles, records, shownEvents } from '../../test/event-reader.ts';
import { trackerCases } from '../../test/tracker.cases.ts';
import { crc32c, type EventContent, event, maskedCrc, record } from './event-file.ts';
import { createTensorboardTracker } from './tensorboard.ts';

interface Golden {
  crc: { hex: string; crc32c: number; masked: number }[];
  events: { content: EventContent; seconds: number; hex: string }[];
  records: string;
}

const golden = JSON.parse(
  readFileSync(new URL('../../test/goldens/tensorboard.json', import.meta.url), 'utf8'),
) as Golden;
const scratch = mkdtempSync(join(tmpdir(), 's3a-tensorboard-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe("the bytes of tensorboard's own writer", () => {
  it('checksums', () => {
    for (const { hex, ...expected } of golden.crc) {
      const bytes = Buffer.from(hex, 'hex');
      expect({ crc32c: crc32c(bytes), masked: maskedCrc(bytes) }).toEqual(expected);
    }
  });

  it.each(golden.events)('$content.kind', ({ content, seconds, hex }) => {
    expect(Buffer.from(event(seconds, content)).toString('hex')).toBe(hex);
  });

  it('records', () => {
    const written = golden.events.map(({ content, seconds }) => record(event(seconds, content)));
    expect(Buffer.concat(written).toString('hex')).toBe(golden.records);
    expect(records(Buffer.from(golden.records, 'hex')).length).toBe(golden.events.length);
    const torn = Buffer.from(golden.records, 'hex');
    torn[20] ^= 1;
    expect(() => records(torn)).toThrow('checksum');
  });
});

/** The rows of the table that settings are written as. */
function paramsOf(markdown: string): Record<string, string> {
  const rows = markdown.split('\n').slice(2);
  return Object.fromEntries(
    rows.map(row =>
      row
        .slice(2, -2)
        .split(/(?<!\\) \| /)
        .map(cell => cell.replaceAll('\\|', '|')),
    ) as [string, string][],
  );
}

trackerCases(
  'TensorBoard',
  async () => {
    const folder = mkdtempSync(join(scratch, 'case-'));
    const place = join(folder, 'tensorboard');
    const warnings: string[] = [];
    const again = () => createTensorboardTracker(place, { onWarning: message => warnings.push(message) });
    return {
      tracker: again(),
      warnings,
      again,
      async read() {
        const events = shownEvents(place);
        const texts = Object.fromEntries(events.flatMap(one => one.texts));
        const { 'hparams/text_summary': hparams, ...others } = texts;
        return {
          scalars: events.flatMap(({ step, scalars }) => scalars.map(([name, value]) => ({ step, name, value }))),
          params: hparams ? paramsOf(hparams) : {},
          texts: Object.fromEntries(
            Object.entries(others).map(([tag, text]) => [tag.replace(/\/text_summary$/, ''), text]),
          ),
        };
      },
      async breakPlace() {
        rmSync(place, { recursive: true, force: true });
        writeFileSync(place, '');
      },
      dispose: async () => rmSync(folder, { recursive: true, force: true }),
    };
  },
  7,
);

/** A training of 6 steps that was killed after step 4 and went on from step 2, with other figures from there. */
async function killedTraining(folder: string): Promise<void> {
  let time = 1_700_000_000_000;
  const now = () => time++;
  const first = createTensorboardTracker(folder, { now });
  first.hparams({ lr: 0.5 });
  for (let step = 1; step <= 4; step++) first.log(step, { loss: 10 - step, lr: 0.5 });
  const second = createTensorboardTracker(folder, { now });
  second.hparams({ lr: 0.5 });
  for (let step = 3; step <= 6; step++) second.log(step, { loss: 20 - step, lr: 0.5 });
  await second.close();
  await first.close();
}
const LOSSES = [9, 8, 17, 16, 15, 14];

it('a training that goes on writes a file of its own and shows no step twice', async () => {
  const folder = join(scratch, 'killed');
  await killedTraining(folder);
  const files = eventFiles(folder);
  expect(files.length).toBe(2);
  for (const { events } of files) {
    expect(events[0]).toMatchObject({ version: 'brain.Event:2' });
    expect(events.map(({ seconds }) => seconds)).toEqual(events.map(({ seconds }) => seconds).sort());
  }
  expect(files[1].events[1]).toMatchObject({ start: true, step: 3 });
  const losses = shownEvents(folder).flatMap(({ step, scalars }) =>
    scalars.length > 0 ? [[step, scalars[0][1]]] : [],
  );
  expect(losses).toEqual(LOSSES.map((loss, i) => [i + 1, loss]));
});

const python = process.env.S3A_PYTHON;
const READ = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0}).Reload()
tags = events.Tags()
scalars = {tag: [[e.wall_time, e.step, e.value] for e in events.Scalars(tag)] for tag in tags["scalars"]}
texts = {tag: [e.tensor_proto.string_val[0].decode() for e in events.Tensors(tag)] for tag in tags["tensors"]}
print(json.dumps({"scalars": scalars, "texts": texts}))
`;
const has = (module: string): boolean => {
  try {
    if (python) execFileSync(python, ['-c', `import ${module}`], { stdio: 'ignore' });
    return python !== undefined;
  } catch {
    return false;
  }
};

describe('tensorboard itself (S3A_PYTHON names a Python that has it)', () => {
  it.skipIf(!has('tensorboard'))('shows the figures, each step once', async () => {
    const folder = join(scratch, 'for-python');
    await killedTraining(folder);
    const said = JSON.parse(execFileSync(python ?? '', ['-c', READ, folder], { encoding: 'utf8' })) as {
      scalars: Record<string, [number, number, number][]>;
      texts: Record<string, string[]>;
    };
    expect(Object.keys(said.scalars).sort()).toEqual(['loss', 'lr']);
    expect(said.scalars.loss.map(([, step, value]) => [step, value])).toEqual(LOSSES.map((loss, i) => [i + 1, loss]));
    for (const [seconds] of said.scalars.loss) expect(seconds).toBeCloseTo(1_700_000_000, 0);
    expect(said.texts['hparams/text_summary']).toContain('| setting | value |\n|---|---|\n| lr | 0.5 |');
  });
});
