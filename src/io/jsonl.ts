/** JSON lines: one value a line, safe to append to, and readable after a kill in the middle of a line. */
import { closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf, S3aError, whyOf } from '../errors.ts';
import { writeAtomic, writeError } from './atomic-write.ts';

/** Appends values to a JSON-lines file; each `write` is on its way to the disk when it returns. */
export interface JsonlWriter {
  /** Appends one line. Throws S3aError WRITE. */
  write(value: unknown): void;
  close(): void;
}

const MAX_LINE = 1 << 26;
const NEWLINE = 10;

/**
 * Opens `path` for appending, making it and its folders if needed; a line that a kill left torn is cut off first.
 *
 * Throws S3aError WRITE.
 */
export function createJsonlWriter(path: string): JsonlWriter {
  let fd: number;
  try {
    mkdirSync(dirname(path), { recursive: true });
    fd = openSync(path, 'a+');
    mendEnd(fd);
  } catch (error) {
    throw writeError(path, error);
  }
  return {
    write: value => {
      const line = Buffer.from(`${JSON.stringify(value)}\n`);
      try {
        for (let at = 0; at < line.length; ) at += writeSync(fd, line, at);
      } catch (error) {
        throw writeError(path, error);
      }
    },
    close: () => closeSync(fd),
  };
}

/** Writes all values as a new file in one atomic step. Throws S3aError WRITE. */
export async function writeJsonl(path: string, values: Iterable<unknown>): Promise<void> {
  await writeAtomic(path, async write => {
    let lines = '';
    for (const value of values) {
      lines += `${JSON.stringify(value)}\n`;
      if (lines.length > 1 << 20) {
        await write(lines);
        lines = '';
      }
    }
    await write(lines);
  });
}

/**
 * The values of a JSON-lines file in order. Empty lines are skipped; a last line without its newline is kept when it is a whole
 * object or array, and dropped when a kill tore it.
 *
 * Throws S3aError READ when the file cannot be read, JSON with the line's number for a line that is not JSON.
 */
export async function* iterateJsonl(path: string): AsyncGenerator<unknown> {
  let number = 0;
  for await (const { bytes, whole } of lines(path)) {
    number++;
    const value = parseLine(bytes);
    if (value.ok) {
      if (whole || (typeof value.parsed === 'object' && value.parsed !== null)) yield value.parsed;
    } else if (whole && value.problem !== undefined) {
      throw new S3aError('JSON', `${path}, line ${number}: not valid JSON (${value.problem})`);
    }
  }
}

/** All values of a JSON-lines file; throws as `iterateJsonl`. */
export async function readJsonl(path: string): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const value of iterateJsonl(path)) values.push(value);
  return values;
}

async function* lines(path: string): AsyncGenerator<{ bytes: Buffer; whole: boolean }> {
  // Not node:readline, which also breaks lines at U+2028, and JSON text may hold that.
  const handle = await open(path).catch(error => {
    throw new S3aError('READ', `cannot read ${path}: ${whyOf(error)}`, undefined, { cause: error });
  });
  try {
    const chunk = Buffer.alloc(1 << 16);
    let held: Buffer[] = [];
    let heldBytes = 0;
    for (;;) {
      const { bytesRead } = await handle.read(chunk, 0, chunk.length);
      if (bytesRead === 0) break;
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0 && end < bytesRead; end = chunk.indexOf(NEWLINE, start)) {
        yield { bytes: Buffer.concat([...held, chunk.subarray(start, end)]), whole: true };
        held = [];
        heldBytes = 0;
        start = end + 1;
      }
      held.push(Buffer.from(chunk.subarray(start, bytesRead)));
      heldBytes += bytesRead - start;
      if (heldBytes > MAX_LINE) throw new S3aError('JSON', `${path} has a line of more than ${MAX_LINE} bytes`);
    }
    if (heldBytes > 0) yield { bytes: Buffer.concat(held), whole: false };
  } catch (error) {
    if (error instanceof S3aError) throw error;
    throw new S3aError('READ', `cannot read ${path}: ${whyOf(error)}`, undefined, { cause: error });
  } finally {
    await handle.close();
  }
}

type Line = { ok: true; parsed: unknown } | { ok: false; problem: string | undefined };

function parseLine(bytes: Buffer): Line {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (text.trim() === '') return { ok: false, problem: undefined };
    return { ok: true, parsed: JSON.parse(text) };
  } catch (error) {
    return { ok: false, problem: messageOf(error) };
  }
}

/** Makes the file end with a whole line, by the same rule as reading. */
function mendEnd(fd: number): void {
  const { size } = fstatSync(fd);
  const end = lastLine(fd, size);
  if (end.length === 0) return;
  const value = parseLine(end);
  if (value.ok && typeof value.parsed === 'object' && value.parsed !== null) writeSync(fd, '\n');
  else ftruncateSync(fd, size - end.length);
}

/** What stands after the last newline of a file of `size` bytes. */
function lastLine(fd: number, size: number): Buffer {
  const blocks: Buffer[] = [];
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - (1 << 16));
    const block = Buffer.alloc(end - start);
    readSync(fd, block, 0, block.length, start);
    const newline = block.lastIndexOf(NEWLINE);
    blocks.unshift(block.subarray(newline + 1));
    if (newline >= 0) break;
    end = start;
  }
  return Buffer.concat(blocks);
}
