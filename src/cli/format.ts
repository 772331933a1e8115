/** Text for people: counts, durations, sizes and tables of plain characters. */

/** `12,345`. */
export function count(n: number): string {
  return Math.round(n).toLocaleString('en-US');
}

/** `1 image`, `2 images`. */
export function counted(n: number, noun: string, plural = `${noun}s`): string {
  return `${count(n)} ${n === 1 ? noun : plural}`;
}

/** A time in seconds as `0.4 s`, `12 s`, `3 min 20 s` or `2 h 5 min`. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A size in bytes as `512 B`, `3.4 MB` or `1.7 GB`. */
export function bytes(size: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(Math.floor(Math.log10(Math.max(size, 1)) / 3), units.length - 1);
  const value = size / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

/** A share between 0 and 1 as `56.7`. */
export function percent(share: number | undefined): string {
  return share === undefined ? '' : (100 * share).toFixed(1);
}

/** A number or text of a stage's report, short. */
export function figure(value: unknown): string {
  if (typeof value !== 'number') return printable(String(value));
  if (Number.isInteger(value)) return count(value);
  return String(Number(value.toPrecision(value !== 0 && Math.abs(value) < 0.001 ? 2 : 4)));
}

/** On one line and harmless to a terminal, whatever a file is called. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, c => JSON.stringify(c).slice(1, -1).replace('\u007f', '\\u007f'));
}

/**
 * Rows under a header, columns padded to their widest cell; a column whose cells below the header are all numbers, or
 * numbers with their ±, is aligned to the right. Ends with a line break.
 */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [header, ...rows].map(row => row.map(printable));
  const widths = header.map((_, j) => Math.max(...cells.map(row => [...(row[j] ?? '')].length)));
  const numeric = header.map(
    (_, j) => rows.length > 0 && rows.every(row => /^[-\d.,]*(?: ± [\d.]+)?$/.test(row[j] ?? '')),
  );
  return cells
    .map(row => {
      const padded = widths.map((width, j) => {
        const space = ' '.repeat(width - [...(row[j] ?? '')].length);
        return numeric[j] ? space + (row[j] ?? '') : (row[j] ?? '') + space;
      });
      return `${padded.join('  ').trimEnd()}\n`;
    })
    .join('');
}
