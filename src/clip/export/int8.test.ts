import { expect, test } from 'vitest';
import { readJson } from '../../io/json.ts';
import { channelScales, quantiseRows, quantiseTable, tableRange } from './int8.ts';

const golden = (await readJson(
  new URL('../../../test/goldens/clip/quantised.json', import.meta.url).pathname,
)) as Record<'matrix' | 'quantised' | 'scales' | 'zeros' | 'table' | 'tableQuantised', number[]> & {
  tableScale: number;
  tableZero: number;
};

test('matrices have the integers and scales of onnxruntime.quantization, one scale a channel', () => {
  const matrix = Float32Array.from(golden.matrix);
  const scales = channelScales(matrix, golden.scales.length);
  expect(scales).toBeAllclose(golden.scales, { rtol: 1e-6, atol: 0 });
  expect([...quantiseRows(matrix, scales)]).toEqual(golden.quantised);
  expect(golden.zeros.every(zero => zero === 0)).toBe(true);
});

test('so have lookup tables, with one scale and zero point', () => {
  const table = Float32Array.from(golden.table);
  const { scale, zero } = tableRange(table);
  expect(scale).toBeCloseTo(golden.tableScale, 10);
  expect(zero).toBe(golden.tableZero);
  expect([...quantiseTable(table, scale, zero)]).toEqual(golden.tableQuantised);
});

test('values at the end of the range, ties and zeros', () => {
  expect([...quantiseRows(Float32Array.of(64, -64, 0.5, 1.5, 2.5, -0.5), Float32Array.of(1))]).toEqual([
    64, -64, 0, 2, 2, 0,
  ]);
  expect(tableRange(Float32Array.of(0, 0))).toEqual({ scale: 1, zero: 0 });
  expect(tableRange(Float32Array.of(2, 5.1)).zero).toBe(0);
});
