/** Figures on an MLflow server: a real local one that checks every request, and misbehaves as told. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type MlflowServer, mlflowServer, type ServedRun, sendJson } from '../../test/mlflow-server.ts';
import { trackerCases } from '../../test/tracker.cases.ts';
import { createMlflowTracker, type MlflowOptions } from './mlflow.ts';
import { mlflowPlace } from './mlflow-api.ts';
import type { Tracker } from './tracker.ts';

const scratch = mkdtempSync(join(tmpdir(), 's3a-mlflow-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

interface Opened {
  server: MlflowServer;
  file: string;
  warnings: string[];
  track(options?: MlflowOptions): Tracker;
}

async function opened(): Promise<Opened> {
  const server = await mlflowServer();
  const file = join(mkdtempSync(join(scratch, 'run-')), 'mlflow.json');
  const warnings: string[] = [];
  const track = (options: MlflowOptions = {}): Tracker =>
    createMlflowTracker(mlflowPlace(server.uri, {}), file, {
      ...{ flushMs: 5, retries: 2, backoffMs: 1, environment: {} },
      ...options,
      onWarning: message => warnings.push(message),
    });
  return { server, file, warnings, track };
}

trackerCases(
  'MLflow',
  async () => {
    const { server, warnings, track } = await opened();
    return {
      tracker: track(),
      warnings,
      again: track,
      async read() {
        const runs = [...server.runs.values()];
        const own = ([key]: [string, string]): boolean => !key.startsWith('mlflow.');
        return {
          scalars: runs.flatMap(run => run.metrics.map(({ key, step, value }) => ({ name: key, step, value }))),
          params: Object.fromEntries(runs.flatMap(run => [...run.params])),
          texts: Object.fromEntries(runs.flatMap(run => [...run.tags].filter(own))),
        };
      },
      breakPlace: () => server.close(),
      dispose: () => server.close(),
    };
  },
  15,
);

let at: Opened;
beforeEach(async () => {
  at = await opened();
});
afterEach(() => at.server.close());

const theRun = (): ServedRun => {
  expect(at.server.runs.size).toBe(1);
  return [...at.server.runs.values()][0];
};
const stepsOf = (run: ServedRun): number[] => run.metrics.map(({ step }) => step);

describe('a run', () => {
  it('is made in an experiment of its own, named as its folder, and ended', async () => {
    const tracker = at.track({ now: () => 1_700_000_000_123 });
    tracker.hparams({ lr: 0.5 });
    tracker.log(3, { loss: 1.5 });
    await tracker.close();
    expect([...at.server.experiments.keys()]).toEqual(['Default', 's3a']);
    const run = theRun();
    expect(run).toMatchObject({
      experiment: '1',
      name: expect.stringMatching(/^run-/),
      status: 'FINISHED',
      startTime: 1_700_000_000_123,
      endTime: 1_700_000_000_123,
      metrics: [{ key: 'loss', value: 1.5, step: 3, timestamp: 1_700_000_000_123 }],
    });
    expect(run.tags.get('mlflow.source.name')).toBe('s3a');
    expect(JSON.parse(readFileSync(at.file, 'utf8'))).toEqual({
      uri: at.server.uri,
      experiment: 's3a',
      run_id: [...at.server.runs.keys()][0],
    });
    expect(at.server.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET experiments/get-by-name',
      'POST experiments/create',
      'POST runs/create',
      'POST runs/log-batch',
      'POST runs/update',
    ]);
  });

  it.each([
    ['stopped', 'KILLED'],
    ['failed', 'FAILED'],
  ] as const)('%s is %s', async (outcome, status) => {
    const tracker = at.track();
    tracker.log(1, { loss: 1 });
    await tracker.close(outcome);
    expect(theRun().status).toBe(status);
  });

  it('goes on where it was, without a step twice, after a kill and after an end', async () => {
    const killed = at.track({ flushMs: 0 });
    killed.hparams({ lr: 0.5, gone: 1 });
    for (let step = 1; step <= 4; step++) killed.log(step, { loss: step, lr: 0.5 });
    await until(() => at.server.runs.size === 1 && theRun().metrics.length === 8);
    const second = at.track({ flushMs: 0 });
    // Settings that differ would be refused by the server; what it has stays.
    second.hparams({ lr: 0.25, extra: 2 });
    await until(() => theRun().params.has('extra'));
    for (let step = 3; step <= 6; step++) second.log(step, { loss: step, lr: 0.5 });
    await second.close('stopped');
    const third = at.track();
    // It does not know yet what the server has.
    for (const step of [6, 7]) third.log(step, { loss: step });
    await third.close();
    expect(stepsOf(theRun())).toEqual([1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7]);
    expect(theRun().params).toEqual(new Map(Object.entries({ lr: '0.5', gone: '1', extra: '2' })));
    expect(theRun().status).toBe('FINISHED');
    expect(at.warnings).toEqual([]);
    await killed.close();
  });

  it('that was left open is ended by a training that has nothing more to say', async () => {
    const first = at.track();
    first.log(1, { loss: 1 });
    await first.close('stopped');
    await at.track().close('finished');
    expect(theRun().status).toBe('FINISHED');
  });

  it('is made anew where it is gone, deleted, or of another server', async () => {
    const log = async (step: number): Promise<void> => {
      const tracker = at.track();
      tracker.log(step, { loss: 1 });
      await tracker.close();
    };
    await log(1);
    theRun().deleted = true;
    await log(2);
    at.server.runs.delete([...at.server.runs.keys()][1]);
    at.server.runs.set('x', { ...[...at.server.runs.values()][0] });
    await log(3);
    expect(at.server.runs.size).toBe(3);
    writeFileSync(at.file, JSON.stringify({ uri: 'http://elsewhere', experiment: 's3a', run_id: 'a' }));
    await log(4);
    writeFileSync(at.file, '{"uri": 3');
    await log(5);
    expect(at.server.runs.size).toBe(5);
    expect(at.warnings).toEqual([]);
  });

  it('has names and texts that MLflow takes', async () => {
    const tracker = at.track();
    tracker.log(1, { 'Größe (%)': 1, 'a/b-c.d: e': 2, [`x${'y'.repeat(300)}`]: 3 });
    tracker.hparams({
      long: 'z'.repeat(9000),
      ...Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`p${i}`, i])),
    });
    tracker.text('note', 'z'.repeat(90_000));
    await tracker.close();
    expect(at.warnings).toEqual([]);
    expect(theRun().metrics.map(({ key }) => key.slice(0, 12))).toEqual(['Gr__e ___', 'a/b-c.d: e', 'xyyyyyyyyyyy']);
    expect(theRun().params.size).toBe(251);
    expect(theRun().params.get('long')).toMatch(/^z+…$/);
  });
});

describe('a server that fails', () => {
  it('for a while is asked again, and loses nothing', async () => {
    let failures = 0;
    at.server.intercept = ({ path }, response) => {
      if (path !== 'runs/log-batch' || failures++ >= 2) return false;
      if (failures === 1) sendJson(response, 503, {}, { 'retry-after': '0' });
      else response.destroy();
      return true;
    };
    const tracker = at.track();
    for (let step = 0; step < 10; step++) tracker.log(step, { loss: step });
    await tracker.close();
    expect(stepsOf(theRun())).toEqual(Array.from({ length: 10 }, (_, step) => step));
    expect(at.warnings).toEqual([]);
  });

  it.each([
    [
      'refuses',
      400,
      { error_code: 'INVALID_PARAMETER_VALUE', message: 'no\nway' },
      'answers 400 INVALID_PARAMETER_VALUE: no way',
    ],
    ['wants a password', 401, {}, 'does not let us in (401)'],
    ['redirects', 302, {}, 'redirects'],
    ['fails for good', 500, 'x', 'answers 500'],
    ['is something else', 200, { hello: 'world' }, 'is not MLflow'],
  ])('%s: one warning', async (_, status, body, message) => {
    at.server.intercept = (_request, response) => {
      sendJson(response, status, body, { location: 'http://127.0.0.1:1/' });
      return true;
    };
    const tracker = at.track();
    for (let step = 0; step < 50; step++) {
      tracker.log(step, { loss: step });
      if (step % 10 === 0) await new Promise(resolve => setTimeout(resolve, 2));
    }
    await tracker.close();
    expect(at.warnings).toEqual([expect.stringContaining(message)]);
    expect(at.warnings[0]).toContain('metrics.jsonl has them all');
  });

  it('says nothing is not waited for', async () => {
    at.server.intercept = () => true;
    const tracker = at.track({ timeoutMs: 20, retries: 1 });
    tracker.log(1, { loss: 1 });
    await tracker.close();
    expect(at.warnings).toEqual([expect.stringContaining('no answer within 0.02 s')]);
    // The end of a training does not wait longer than it may, whatever a single request may take.
    const slow = at.track({ timeoutMs: 1_000_000, closeMs: 30 });
    slow.log(1, { loss: 1 });
    await slow.close();
    expect(at.warnings[1]).toContain('is too slow');
  });

  it('is not there: the experiment was deleted', async () => {
    at.server.experiments.set('s3a', { id: '7', deleted: true });
    const tracker = at.track();
    tracker.log(1, { loss: 1 });
    await tracker.close();
    expect(at.warnings).toEqual([expect.stringContaining('s3a is deleted')]);
  });

  it('made the experiment for another training in between', async () => {
    at.server.intercept = ({ path }) => {
      if (path === 'experiments/create') at.server.experiments.set('s3a', { id: '9', deleted: false });
      return false;
    };
    const tracker = at.track();
    tracker.log(1, { loss: 1 });
    await tracker.close();
    expect(theRun().experiment).toBe('9');
    expect(at.warnings).toEqual([]);
  });
});

describe('the place', () => {
  const uri = 'http://mlflow.example:5000';

  it('comes from the flag or the environment, with what belongs to it', () => {
    expect(mlflowPlace(`${uri}/`, {})).toEqual({ uri, experiment: 's3a', authorization: undefined });
    const named = { MLFLOW_TRACKING_URI: `${uri}/sub/`, MLFLOW_EXPERIMENT_NAME: 'mine', MLFLOW_TRACKING_TOKEN: 'abc' };
    expect(mlflowPlace(undefined, named)).toEqual({
      uri: `${uri}/sub`,
      experiment: 'mine',
      authorization: 'Bearer abc',
    });
    const user = { MLFLOW_TRACKING_USERNAME: 'me', MLFLOW_TRACKING_PASSWORD: 'secret' };
    expect(mlflowPlace(uri, user).authorization).toBe(`Basic ${Buffer.from('me:secret').toString('base64')}`);
    // What is for one server is not sent to another.
    expect(mlflowPlace(uri, named).authorization).toBeUndefined();
  });

  it('that is none, or holds a secret, is one clear line', () => {
    expect(() => mlflowPlace(undefined, {})).toThrow(expect.objectContaining({ code: 'TRACK' }));
    expect(() => mlflowPlace('./mlruns', {})).toThrow('is not an http(s) address');
    for (const uri of ['me:secret@host:5000', ':secret@host:5000', 'host:5000/?t=secret', 'host:5000/#secret']) {
      const withSecret = (): unknown => mlflowPlace(`http://${uri}`, {});
      expect(withSecret).toThrow('at host:5000 holds a user, a query or a fragment');
      expect(withSecret).not.toThrow(expect.objectContaining({ message: expect.stringContaining('secret') }));
    }
  });

  it('hears who asks', async () => {
    const place = { ...mlflowPlace(at.server.uri, {}), authorization: 'Bearer abc' };
    const tracker = createMlflowTracker(place, at.file, { environment: {} });
    tracker.log(1, { loss: 1 });
    await tracker.close();
    expect(new Set(at.server.requests.map(({ headers }) => headers.authorization))).toEqual(new Set(['Bearer abc']));
  });
});

async function until(there: () => boolean): Promise<void> {
  while (!there()) await new Promise(resolve => setTimeout(resolve, 1));
}
