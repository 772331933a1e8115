/** Where the time of a run goes: ONNX Runtime's own profile, summed by place (forward, backward, update) and operator. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A line of the summary; times are milliseconds of the median run. */
export interface ProfileLine {
  place: string;
  operator: string;
  milliseconds: number;
  nodes: number;
}

export interface Profile {
  lines: ProfileLine[];
  /** The median run as ONNX Runtime measures it, with what lies between nodes. */
  run: number;
  /** The median call as the caller sees it: also feeds and results on their way, and what a kernel updates after the run. */
  call: number;
  /** All nodes of that run. */
  nodes: number;
}

/** An event of ONNX Runtime's profile; times are microseconds. */
interface Event {
  cat: string;
  name: string;
  ts: number;
  dur: number;
  args?: { op_name?: string };
}

/**
 * Runs work that writes a profile and reads it.
 * @param work gets the beginning of the profile's path, must have disposed its session at its end, and returns how many milliseconds
 * each call took
 * @param warm first runs that do not count
 */
export async function profiled(work: (path: string) => Promise<number[]>, warm = 2): Promise<Profile> {
  const folder = await mkdtemp(join(tmpdir(), 's3a-profile-'));
  try {
    const calls = (await work(join(folder, 'run'))).slice(warm).sort((a, b) => a - b);
    const [file] = await readdir(folder);
    const events = JSON.parse(await readFile(join(folder, file), 'utf8')) as Event[];
    return { ...summariseProfile(events, warm), call: calls[calls.length >> 1] };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The median of the runs after the first `warm`. */
export function summariseProfile(events: readonly Event[], warm: number): Omit<Profile, 'call'> {
  const runs = events.filter(({ name }) => name === 'model_run').sort((a, b) => a.ts - b.ts);
  const counted = runs.slice(warm).sort((a, b) => a.dur - b.dur);
  const median = counted[counted.length >> 1];
  const nodes = events.filter(
    ({ cat, name, ts }) =>
      cat === 'Node' && name.endsWith('_kernel_time') && ts >= median.ts && ts < median.ts + median.dur,
  );
  const lines = new Map<string, ProfileLine>();
  for (const { name, dur, args } of nodes) {
    const place = placeOf(name);
    const operator = args?.op_name ?? '?';
    const key = `${place} ${operator}`;
    const line = lines.get(key) ?? { place, operator, milliseconds: 0, nodes: 0 };
    lines.set(key, line);
    line.milliseconds += dur / 1000;
    line.nodes++;
  }
  const sorted = [...lines.values()].sort((a, b) => b.milliseconds - a.milliseconds);
  return { lines: sorted, run: median.dur / 1000, nodes: nodes.length };
}

/** Names are `place/Operator/number`, also within the names of nodes that ONNX Runtime has joined. */
function placeOf(name: string): string {
  const place = /^(.*?)\/?[A-Z]\w*\/\d+/.exec(name)?.[1] ?? '';
  return place === '' ? 'forward' : place.replace(/^.*[^a-z/].*$/, 'other');
}

/** Prints the summary: places, then the lines that make up most of the run. */
export function printProfile(title: string, { lines, run, call, nodes }: Profile): void {
  const inside = lines.reduce((sum, line) => sum + line.milliseconds, 0);
  const row = (name: string, milliseconds: number, count: number): string =>
    `${name.padEnd(44)} ${milliseconds.toFixed(1).padStart(8)} ms ${((100 * milliseconds) / call).toFixed(1).padStart(5)} % ${String(count).padStart(6)} nodes`;
  console.log(row(title, call, nodes));
  console.log(row('  after the run (updates) and around it', call - run, 0));
  console.log(row('  between nodes', run - inside, 0));
  for (const place of new Set(lines.map(line => line.place))) {
    const own = lines.filter(line => line.place === place);
    const total = own.reduce((sum, line) => sum + line.milliseconds, 0);
    console.log(
      row(
        `  ${place}`,
        total,
        own.reduce((sum, line) => sum + line.nodes, 0),
      ),
    );
    for (const { operator, milliseconds, nodes: count } of own) {
      if (milliseconds >= 0.002 * call) console.log(row(`    ${operator}`, milliseconds, count));
    }
  }
}
