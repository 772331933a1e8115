/** A local server that speaks the part of MLflow's REST API that trackers need, as its documentation gives it, and checks all it is sent. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface MlflowMetric {
  key: string;
  value: number;
  timestamp: number;
  step: number;
}

export interface ServedRun {
  experiment: string;
  name: string;
  status: string;
  startTime: number;
  endTime?: number;
  deleted?: boolean;
  metrics: MlflowMetric[];
  params: Map<string, string>;
  tags: Map<string, string>;
}

/** One request as it came in. */
export interface MlflowRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: Record<string, unknown>;
}

export interface MlflowServer {
  readonly uri: string;
  readonly port: number;
  readonly runs: Map<string, ServedRun>;
  /** Experiments by name: their id and whether they are deleted. */
  readonly experiments: Map<string, { id: string; deleted: boolean }>;
  readonly requests: MlflowRequest[];
  /** Answers a request instead of the server; false leaves it to the server. */
  intercept: (request: MlflowRequest, response: ServerResponse) => boolean | Promise<boolean>;
  close(): Promise<void>;
}

class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const bad = (message: string): Refusal => new Refusal(400, 'INVALID_PARAMETER_VALUE', message);
const missing = (what: string): Refusal => new Refusal(404, 'RESOURCE_DOES_NOT_EXIST', `${what} not found`);
const STATUSES = ['RUNNING', 'SCHEDULED', 'FINISHED', 'FAILED', 'KILLED'];
const KEY = /^[/\w.\- :]{1,250}$/;

export async function mlflowServer(port = 0): Promise<MlflowServer> {
  const runs = new Map<string, ServedRun>();
  const experiments = new Map([['Default', { id: '0', deleted: false }]]);
  const requests: MlflowRequest[] = [];

  const only = (body: Record<string, unknown>, known: string[]): void => {
    const strange = Object.keys(body).find(key => !known.includes(key));
    if (strange) throw bad(`unknown field ${strange}`);
  };
  const text = (value: unknown, what: string): string => {
    if (typeof value !== 'string' || value === '') throw bad(`${what} is no text`);
    return value;
  };
  const whole = (value: unknown, what: string): number => {
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw bad(`${what} is no int64`);
    return value as number;
  };
  const list = (value: unknown, what: string, most: number): Record<string, unknown>[] => {
    if (value === undefined) return [];
    if (!Array.isArray(value) || value.length > most) throw bad(`${what} is no list of at most ${most}`);
    return value as Record<string, unknown>[];
  };
  const pair = (item: Record<string, unknown>, longest: number): [string, string] => {
    only(item, ['key', 'value']);
    const key = text(item.key, 'key');
    if (!KEY.test(key)) throw bad(`the key ${key}`);
    if (typeof item.value !== 'string' || item.value.length > longest) throw bad(`the value of ${key}`);
    return [key, item.value];
  };
  const runOf = (value: unknown): ServedRun => {
    const run = runs.get(text(value, 'run_id'));
    if (!run) throw missing(`Run ${String(value)}`);
    return run;
  };
  const infoOf = (id: string, run: ServedRun): object => ({
    run_id: id,
    run_uuid: id,
    run_name: run.name,
    experiment_id: run.experiment,
    status: run.status,
    start_time: run.startTime,
    end_time: run.endTime,
    lifecycle_stage: run.deleted ? 'deleted' : 'active',
    artifact_uri: 'x',
  });
  const dataOf = (run: ServedRun): object => {
    const latest = new Map<string, MlflowMetric>();
    for (const metric of run.metrics) {
      if ((latest.get(metric.key)?.step ?? -1) <= metric.step) latest.set(metric.key, metric);
    }
    const pairs = (map: Map<string, string>): object[] => [...map].map(([key, value]) => ({ key, value }));
    // Empty lists are left out, as protocol buffers do, and 64-bit numbers may come as texts.
    return {
      ...(latest.size > 0 ? { metrics: [...latest.values()].map(one => ({ ...one, step: String(one.step) })) } : {}),
      ...(run.params.size > 0 ? { params: pairs(run.params) } : {}),
      tags: pairs(run.tags),
    };
  };

  const logBatch = (body: Record<string, unknown>): object => {
    only(body, ['run_id', 'metrics', 'params', 'tags']);
    const run = runOf(body.run_id);
    if (run.status !== 'RUNNING') throw bad('the run does not run');
    const metrics = list(body.metrics, 'metrics', 1000).map(item => {
      only(item, ['key', 'value', 'timestamp', 'step']);
      const key = text(item.key, 'key');
      if (!KEY.test(key) || typeof item.value !== 'number') throw bad(`the metric ${key}`);
      return { key, value: item.value, timestamp: whole(item.timestamp, 'timestamp'), step: whole(item.step, 'step') };
    });
    const params = list(body.params, 'params', 100).map(item => pair(item, 6000));
    const tags = list(body.tags, 'tags', 100).map(item => pair(item, 8000));
    if (metrics.length + params.length + tags.length > 1000) throw bad('more than 1000 items');
    for (const [key, value] of params) {
      if ((run.params.get(key) ?? value) !== value) throw bad(`changing param ${key} is not allowed`);
    }
    run.metrics.push(...metrics);
    for (const [key, value] of params) run.params.set(key, value);
    for (const [key, value] of tags) run.tags.set(key, value);
    return {};
  };

  const routes: Record<string, (request: MlflowRequest) => object> = {
    'GET experiments/get-by-name': ({ query }) => {
      const name = text(query.get('experiment_name'), 'experiment_name');
      const found = experiments.get(name);
      if (!found) throw missing(`Experiment ${name}`);
      return {
        experiment: { experiment_id: found.id, name, lifecycle_stage: found.deleted ? 'deleted' : 'active' },
      };
    },
    'POST experiments/create': ({ body }) => {
      only(body, ['name', 'artifact_location', 'tags']);
      const name = text(body.name, 'name');
      if (experiments.has(name)) throw new Refusal(400, 'RESOURCE_ALREADY_EXISTS', 'it exists');
      experiments.set(name, { id: String(experiments.size), deleted: false });
      return { experiment_id: experiments.get(name)?.id };
    },
    'POST runs/create': ({ body }) => {
      only(body, ['experiment_id', 'run_name', 'start_time', 'tags', 'user_id']);
      const experiment = text(body.experiment_id, 'experiment_id');
      if (![...experiments.values()].some(({ id }) => id === experiment)) throw missing('Experiment');
      const id = `${runs.size}`.padStart(32, 'a');
      const run: ServedRun = {
        experiment,
        name: text(body.run_name, 'run_name'),
        status: 'RUNNING',
        startTime: whole(body.start_time, 'start_time'),
        metrics: [],
        params: new Map(),
        tags: new Map(list(body.tags, 'tags', 100).map(item => pair(item, 8000))),
      };
      runs.set(id, run);
      return { run: { info: infoOf(id, run), data: dataOf(run) } };
    },
    'GET runs/get': ({ query }) => {
      const run = runOf(query.get('run_id'));
      return { run: { info: infoOf(query.get('run_id') ?? '', run), data: dataOf(run) } };
    },
    'POST runs/log-batch': ({ body }) => logBatch(body),
    'POST runs/update': ({ body }) => {
      only(body, ['run_id', 'status', 'end_time', 'run_name']);
      const run = runOf(body.run_id);
      const status = text(body.status, 'status');
      if (!STATUSES.includes(status)) throw bad(`the status ${status}`);
      run.status = status;
      run.endTime = body.end_time === undefined ? undefined : whole(body.end_time, 'end_time');
      return { run_info: infoOf(String(body.run_id), run) };
    },
  };

  const answer = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const parts: Buffer[] = [];
    for await (const part of incoming) parts.push(part as Buffer);
    const raw = Buffer.concat(parts);
    const url = new URL(incoming.url ?? '', 'http://server');
    const { method = '', headers } = incoming;
    const post = method === 'POST';
    const body = (post ? JSON.parse(raw.toString()) : {}) as Record<string, unknown>;
    const path = url.pathname.replace(/^\/api\/2\.0\/mlflow\//, '');
    const request = { method, path, query: url.searchParams, headers, body };
    requests.push(request);
    if (await self.intercept(request, response)) return;
    try {
      if (raw.length > 1 << 20) throw bad('more than 1 MB');
      if (post && headers['content-type'] !== 'application/json') throw bad('the content type');
      const route = routes[`${method} ${path}`];
      if (!route || path === url.pathname) throw new Refusal(404, 'ENDPOINT_NOT_FOUND', `${method} ${url.pathname}`);
      sendJson(response, 200, route(request));
    } catch (error) {
      const { status, code, message } = error instanceof Refusal ? error : new Refusal(500, 'INTERNAL_ERROR', 'bug');
      sendJson(response, status, { error_code: code, message });
    }
  };
  const server = createServer((incoming, response) => void answer(incoming, response).catch(() => response.destroy()));
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
  const { port: given } = server.address() as AddressInfo;
  const self: MlflowServer = {
    uri: `http://127.0.0.1:${given}`,
    port: given,
    runs,
    experiments,
    requests,
    intercept: () => false,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return self;
}

export function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}
