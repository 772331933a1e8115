/** The PyTorch process that runs beside the benches, where Python has PyTorch. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface Peer {
  /** `PyTorch 2.13.0+cpu`. */
  readonly name: string;
  /** `cuda` or `cpu`, of a script that chooses. */
  readonly device?: string;
  /** Runs a piece of work `count` times and gives the seconds of each. */
  run(name: string, count: number): Promise<number[]>;
  /** Sends any message and gives the answer. */
  ask(message: unknown): Promise<unknown>;
  close(): void;
}

/**
 * Starts a script of this folder and hands it its configuration.
 * @param python the interpreter; the caller's choice, else the variable PYTHON, else python3
 * @returns undefined when there is no such interpreter or it has no PyTorch
 */
export async function startPeer(script: string, config: unknown, python?: string): Promise<Peer | undefined> {
  // The compiled bench lies in dist/bench, the scripts stay in bench.
  const path = fileURLToPath(
    new URL(import.meta.url.endsWith('.ts') ? script : `../../bench/${script}`, import.meta.url),
  );
  const child = spawn(python ?? process.env.PYTHON ?? 'python3', [path], { stdio: ['pipe', 'pipe', 'ignore'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (message: unknown): Promise<string | undefined> => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
    const { value } = await lines.next();
    return value as string | undefined;
  };
  // A process that cannot start, or ends for want of PyTorch, closes its output; that is the answer.
  child.on('error', () => undefined);
  child.stdin.on('error', () => undefined);
  const hello = await Promise.race([ask(config), once(child, 'error').then(() => undefined)]);
  if (hello === undefined) return undefined;
  const { name, device } = JSON.parse(hello) as { name: string; device?: string };
  return {
    name,
    device,
    async run(work, count) {
      const answer = await ask({ name: work, count });
      if (answer === undefined) throw new Error(`${name} ended during '${work}'`);
      return (JSON.parse(answer) as { seconds: number[] }).seconds;
    },
    async ask(message) {
      const answer = await ask(message);
      if (answer === undefined) throw new Error(`${name} ended during ${JSON.stringify(message)}`);
      return JSON.parse(answer);
    },
    close: () => child.stdin.end(),
  };
}
