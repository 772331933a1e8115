/** A fetch that reads the whole answer within a number of bytes, so that no server can fill the memory. */

/** Thrown, and wrapped by the client as a cause, when a server sends more than it may. */
export class TooLongError extends Error {
  readonly limit: number;

  constructor(limit: number) {
    super(`more than ${limit} bytes`);
    this.name = 'TooLongError';
    this.limit = limit;
  }
}

/**
 * A `fetch` whose answers hold at most `maxBytes` bytes after decompression; a longer one is cut off on the wire and
 * `TooLongError` is thrown. The body is read before it returns, so a time limit on the call covers the body too.
 */
export function boundedFetch(maxBytes: number, fetch: typeof globalThis.fetch): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    if (!response.body) return response;
    const chunks: Uint8Array[] = [];
    let size = 0;
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.byteLength;
      if (size > maxBytes) {
        await reader.cancel().catch(() => {});
        throw new TooLongError(maxBytes);
      }
      chunks.push(value);
    }
    const { status, statusText, headers } = response;
    return new Response(Buffer.concat(chunks), { status, statusText, headers });
  };
}
