/** Writes what arrives to a file while more arrives: one write at a time, of all that has gathered since the last. */
import type { FileHandle } from 'node:fs/promises';

export interface PieceWriter {
  /** Takes a piece; waits only when the disk is far behind. Throws what the system said about an earlier piece. */
  push(piece: Buffer): Promise<void>;
  /** Waits until everything is written. Throws what the system said when it could not be. */
  settle(): Promise<void>;
}

// Beyond this much in memory whoever sends has to wait.
const MAX_PENDING = 8 << 20;

/**
 * A writer that begins at byte `start`.
 * @param onWritten told the position after each write
 */
export function pieceWriter(handle: FileHandle, start: number, onWritten: (position: number) => void): PieceWriter {
  let position = start;
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  let busy = false;
  let working = Promise.resolve();
  let failure: { error: unknown } | undefined;

  async function work(): Promise<void> {
    try {
      while (pending.length > 0) {
        const bytes = Buffer.concat(pending);
        pending = [];
        pendingBytes = 0;
        // A write may be short; the next one then reports the cause.
        for (let at = 0; at < bytes.length; ) {
          const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, position);
          at += bytesWritten;
          position += bytesWritten;
          onWritten(position);
        }
      }
    } catch (error) {
      failure = { error };
    } finally {
      busy = false;
    }
  }

  function check(): void {
    if (failure) throw failure.error;
  }

  return {
    async push(piece) {
      check();
      pending.push(piece);
      pendingBytes += piece.length;
      if (!busy) {
        busy = true;
        working = work();
      }
      if (pendingBytes > MAX_PENDING) await working;
      check();
    },
    async settle() {
      await working;
      check();
    },
  };
}
