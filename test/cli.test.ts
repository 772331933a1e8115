/** The executable as a user meets it: its help, its errors, and one run from a folder of images to its evaluation. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { SETTINGS } from '../src/config/settings.ts';
import type { RunReport, RunSummary } from '../src/index.ts';
import { readJson } from '../src/io/json.ts';
import { readTable } from '../src/io/table.ts';
import { type Outcome, s3a } from './run-cli.ts';

const main = new URL('../dist/src/cli/main.js', import.meta.url).pathname;
// A tiny random CLIP written by transformers.
const model = new URL('./goldens/clip/quick_gelu', import.meta.url).pathname;
const pictures = new URL('./goldens/images/', import.meta.url).pathname;

const folder = mkdtempSync(join(tmpdir(), 's3a-cli-'));
const at = (...parts: string[]): string => join(folder, ...parts);
afterAll(() => rmSync(folder, { recursive: true }));

mkdirSync(at('photos', 'a name, with\nmore'), { recursive: true });
mkdirSync(at('empty'));
for (const name of readdirSync(pictures).filter(file => /\.(jpg|png)$/.test(file))) {
  cpSync(join(pictures, name), at('photos', name));
}
cpSync(join(pictures, 'rgb.png'), at('photos', 'a name, with\nmore', '🐈.png'));
writeFileSync(at('photos', 'broken.jpg'), 'no image');
writeFileSync(at('names.txt'), 'cat: a small animal with whiskers\ndog\nbird\nfish\ntree\ncar\n');

/** Runs the executable in the temporary folder; `watch` sees the process and what it has written to stderr so far. */
function spawned(args: readonly string[], watch?: (child: ChildProcess, err: string) => void): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { cwd: folder });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', text => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', text => {
      err += text;
      watch?.(child, err);
    });
    child.on('error', reject);
    child.on('close', code => resolve({ code, out, err }));
  });
}

/** The same in this process, which is quicker. */
async function inFolder(args: readonly string[]): Promise<Outcome> {
  const before = process.cwd();
  process.chdir(folder);
  try {
    return await s3a(...args);
  } finally {
    process.chdir(before);
  }
}

const verbs = 'fit discover train embed cluster vote prompt realign predict eval export vocab models doctor'.split(' ');

describe('help', () => {
  test('names every verb', async () => {
    const { code, out } = await spawned(['--help']);
    expect(code).toBe(0);
    for (const verb of verbs) expect(out).toMatch(new RegExp(`^  ${verb} `, 'm'));
  });

  test.each(verbs)('of %s has examples', async verb => {
    const { code, out, err } = await inFolder([verb, '--help']);
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(new RegExp(`Examples:\n  s3a ${verb}\\b`));
    if (verb === 'fit') for (const { flag } of SETTINGS) expect(out).toMatch(new RegExp(`--(no-)?${flag}\\b`));
  });
});

describe('errors are one clear line and a code', () => {
  const fit = ['fit', 'photos', '--model', model, '--vocab', 'names.txt', '--out', 'runs/none'];
  test.each<[string, string[], number, string]>([
    ['a flag that is none', ['fit', 'photos', '--epocs', '3'], 2, "unknown option '--epocs'\n(Did you mean --epochs?)"],
    [
      'a value out of range',
      ['fit', 'photos', '--k', '0'],
      2,
      'It must be a whole number from 1 to 1000000 or estimate or auto.',
    ],
    ['a verb that is none', ['fti'], 2, "unknown command 'fti'\n(Did you mean fit?)"],
    ['no images given', ['fit'], 2, "missing required argument 'images'"],
    ['settings that do not fit', [...fit, '--llm', 'openai'], 2, 'llm = "openai" needs llmModel'],
    ['no such config file', [...fit, '--config', 'no.json'], 1, 'cannot read no.json'],
    [
      'the default model',
      ['fit', 'photos', '--vocab', 'names.txt', '--out', 'runs/default'],
      1,
      'openai/clip-vit-base-patch16@main is not in',
    ],
    ['a model on the hub', ['fit', 'photos', '--model', 'a/b', '--out', 'runs/hub'], 1, 'a/b@main is not in'],
    ['a name that is none', ['fit', 'photos', '--model', 'clip', '--out', 'runs/name'], 1, 'no file or folder clip'],
    [
      'a folder that is no model',
      ['fit', 'photos', '--model', 'photos', '--out', 'runs/folder'],
      1,
      `there is no model at '${at('photos')}'`,
    ],
    ['a folder of something else for the run', [...fit, '--out', model], 1, 'is not empty and not a run'],
    ['an empty folder', ['fit', 'empty', '--model', model, '--out', 'runs/e'], 1, 'no image found in'],
    [
      'a folder that is not there',
      ['fit', 'nowhere', '--model', model, '--out', 'runs/n'],
      1,
      'nowhere cannot be read: no such file or directory',
    ],
    [
      'an unknown vocabulary',
      [...fit.slice(0, 4), '--vocab', 'in22k', '--out', 'runs/v'],
      1,
      'there is no vocabulary "in22k"',
    ],
    [
      'more clusters than images',
      [...fit.slice(0, 6), '--k', '99', '--out', 'runs/k'],
      1,
      'cannot form 99 clusters from',
    ],
    ['a run that is not there', ['train', 'runs/missing'], 1, 'there is no run in runs/missing'],
    ['a step of no run', ['vote', 'photos'], 1, 'there is no run in photos'],
    ['labels of no run', ['eval', 'runs/missing', '--labels', 'photos'], 1, 'there is no run in runs/missing'],
    ['no labels given', ['eval', 'runs/missing'], 2, "required option '--labels <dir|csv>' not specified"],
    ['a place for the run that is a file', [...fit.slice(0, 6), '--out', 'names.txt/run'], 1, 'names.txt/run'],
  ])('%s', async (_, args, code, message) => {
    const outcome = await inFolder(args);
    expect(outcome.err).toContain(message);
    expect(outcome.err).not.toMatch(/^\s+at /m);
    expect(outcome.err).not.toContain('defect');
    expect([outcome.code, outcome.out]).toEqual([code, '']);
  });

  test('with --json also as an object on stdout', async () => {
    const { code, out } = await spawned(['train', 'runs/missing', '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ error: { code: 'RUN', message: 'there is no run in runs/missing' } });
  });

  test('with S3A_DEBUG with its stack', async () => {
    process.env.S3A_DEBUG = '1';
    try {
      expect((await inFolder(['train', 'runs/missing'])).err).toMatch(/^\s+at /m);
    } finally {
      delete process.env.S3A_DEBUG;
    }
  });
});

test('vocab finds names and says what they mean', async () => {
  const { out } = await inFolder(['vocab', 'names.txt', '--search', 'CA']);
  expect(out).toBe('cat: a small animal with whiskers\ncar\n\nnames: 6 names\n');
  const { names, entries } = JSON.parse((await inFolder(['vocab', 'in21k', '--search', 'tench', '--json'])).out);
  expect([names, entries[0].name]).toEqual([20071, 'tench']);
});

test('doctor finds this machine well', async () => {
  const { code, out } = await inFolder(['doctor', '--json']);
  expect([code, JSON.parse(out).ok]).toEqual([0, true]);
});

describe('a run', () => {
  const settings = ['--model', model, '--preset', 'quick', '--epochs', '1', '--batch-size', '8', '--threads', '1'];
  const given = ['photos', '--vocab', 'names.txt', '--k', '3', ...settings];
  const images = readdirSync(pictures).filter(file => /\.(jpg|png)$/.test(file)).length + 1;

  test('is stopped by Ctrl-C, says how to go on, and goes on', async () => {
    let asked = false;
    const stopped = await spawned(['fit', ...given], (child, err) => {
      if (asked || !/^realign /m.test(err)) return;
      asked = true;
      child.kill('SIGINT');
    });
    expect(stopped.code).toBe(130);
    expect(stopped.err).toContain('error: stopped\nGo on with: s3a fit photos --out runs/photos --resume\n');
    expect(existsSync(at('runs/photos/labels.csv'))).toBe(false);

    const { code, out, err } = await spawned(['fit', 'photos', '--out', 'runs/photos', '--resume', '--json']);
    expect([code, err]).toEqual([0, expect.stringContaining('realign     done before')]);
    const summary = JSON.parse(out) as RunSummary;
    expect(summary).toMatchObject({ folder: 'runs/photos', images, skipped: 1 });
    expect(summary.stages.cluster.skipped).toBe(true);
    expect(summary.stages.train.skipped).toBe(false);
    expect(summary.classes.reduce((sum, { count }) => sum + count, 0)).toBe(images);
    // What was given at first still holds.
    expect(await readJson(at('runs/photos/config.json'))).toMatchObject({ vocab: at('names.txt'), k: 3, epochs: 1 });
  }, 180_000);

  test('is not shared with another process', async () => {
    const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    writeFileSync(at('runs/photos/.lock'), JSON.stringify({ pid: other.pid, host: hostname() }));
    const { code, err } = await inFolder(['fit', 'photos', '--out', 'runs/photos', '--resume']);
    expect([code, err]).toEqual([1, expect.stringContaining(`runs/photos is in use by process ${other.pid}\nWait`)]);
    const ended = new Promise(resolve => other.once('exit', resolve));
    other.kill('SIGKILL');
    await ended;
    expect((await inFolder(['vote', 'runs/photos'])).code).toBe(0);
    expect(existsSync(at('runs/photos/.lock'))).toBe(false);
  });

  test.each(['predict', 'export'])('is looked for by %s on this disk where others lie', async verb => {
    const { code, err } = await inFolder([verb, 'runs/photoz', ...(verb === 'predict' ? ['photos'] : [])]);
    expect([code, err]).toEqual([1, 'error: there is no run in runs/photoz\nDid you mean runs/photos?\n']);
  });

  test('is not written over', async () => {
    const { code, err } = await inFolder(['fit', ...given]);
    expect([code, err]).toEqual([
      1,
      expect.stringContaining('runs/photos holds a run already\nGo on with it by --resume'),
    ]);
  });

  test('labels every image, whatever it is called, and lists the one that is none', async () => {
    const rows = await readTable(at('runs/photos/labels.csv'));
    expect(rows).toHaveLength(images);
    expect(rows.map(row => row.file_name)).toContain('a name, with\nmore/🐈.png');
    expect(Object.keys(rows[0])).toEqual(
      expect.arrayContaining([
        'label',
        'confidence',
        'cluster',
        'zero_shot',
        'smoothed',
        'structural',
        'student',
        'teacher',
      ]),
    );
    expect(readFileSync(at('runs/photos/skipped.jsonl'), 'utf8')).toContain('"file_name":"broken.jpg"');
  });

  test('does nothing twice', async () => {
    const { code, out, err } = await inFolder(['vote', 'runs/photos', '--quiet', '--json']);
    expect([code, err]).toEqual([0, '']);
    const { stages } = JSON.parse(out) as RunSummary;
    expect(Object.values(stages).every(({ skipped }) => skipped)).toBe(true);
  });

  test('does a step again when its settings change', async () => {
    const { code, out } = await inFolder(['vote', 'runs/photos', '--vote-top', '3', '--json']);
    const { stages } = JSON.parse(out) as RunSummary;
    expect([code, stages.cluster.skipped, stages.vote.skipped]).toEqual([0, true, false]);
  });

  test('labels other images as it labelled its own', async () => {
    const { code, out } = await inFolder(['predict', 'runs/photos', 'photos', '--json', '--threads', '1']);
    expect(code).toBe(0);
    const predictions = JSON.parse(out) as { file_name: string; label: string | null; error: string | null }[];
    expect(predictions).toHaveLength(images + 1);
    const rows = await readTable(at('runs/photos/labels.csv'));
    const teacher = new Map(rows.map(row => [row.file_name, row.teacher]));
    const found = new Set(rows.map(row => row.label));
    // It chooses from the names that were found, and the teacher from all.
    for (const { file_name, label, error } of predictions) {
      if (error === null) expect(found).toContain(label);
      if (found.has(teacher.get(file_name) ?? null)) expect(label).toBe(teacher.get(file_name));
    }
    expect(predictions.find(({ error }) => error !== null)?.file_name).toBe('broken.jpg');

    const csv = await inFolder(['predict', 'runs/photos', 'photos', '--format', 'csv', '--top', '2', '--out', 'p.csv']);
    expect(csv.out).toBe(`${images + 1} images in p.csv\n`);
    expect(await readTable(at('p.csv'))).toMatchObject(
      predictions.map(({ file_name, label }) => ({ file_name, label })),
    );
  }, 120_000);

  test('is evaluated, step by step', async () => {
    const rows = await readTable(at('runs/photos/labels.csv'));
    // What the teacher says is taken for the truth, but for one image, whose label is not known.
    const truth = rows.slice(1).map(({ file_name, teacher }) => ({ file_name, label: String(teacher).toUpperCase() }));
    writeFileSync(at('truth.jsonl'), truth.map(row => `${JSON.stringify(row)}\n`).join(''));
    const { code, out } = await inFolder(['eval', 'runs/photos', '--labels', 'truth.jsonl', '--json']);
    const report = JSON.parse(out) as RunReport;
    expect([code, report.images, report.unlabelled, report.outsideVocabulary]).toEqual([0, images - 1, 1, []]);
    expect(report.stages.teacher.accuracy[1]).toBe(1);
    expect(report.stages.teacher.accuracy[5]).toBe(1);
    const agree = rows.slice(1).filter(row => row.zero_shot === row.teacher).length / (images - 1);
    expect(report.stages.zero_shot.accuracy[1]).toBeCloseTo(agree, 12);
    expect((await inFolder(['eval', 'runs/photos', '--labels', 'truth.jsonl'])).out).toMatch(
      /^teacher +100\.0 +100\.0/m,
    );
    const wrong = await inFolder(['eval', 'runs/photos', '--labels', 'empty']);
    expect(wrong.err).toContain('no image found');
  }, 120_000);
});
