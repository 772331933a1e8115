/** The rules of softmax, layer normalisation, convolution and pooling against finite differences. */
import fc from 'fast-check';
import { type Case, type Cases, describeRules } from '../../../test/gradient-check.ts';
import { extent, shape, shapeAndAxis, show } from '../../../test/shapes.ts';
import * as e from '../index.ts';
import { layers } from './nn.ts';

const alongAxis = (operator: (x: e.Tensor, axis: number) => e.Tensor): fc.Arbitrary<Case> =>
  shapeAndAxis(1, 3).map(({ shape: drawn, axis }) => ({
    label: show([drawn, axis]),
    shapes: [drawn],
    build: ([x]) => operator(x, axis),
  }));

const layerNorm = fc.tuple(shape(0, 2), fc.integer({ min: 4, max: 7 }), fc.constantFrom(1e-5, 1e-3, 0.1)).map(
  ([rows, width, epsilon]): Case => ({
    label: show([rows, width, epsilon]),
    shapes: [[...rows, width], [width], [width]],
    // Rows of nearly equal values would have a huge slope.
    values: 'apart',
    build: ([x, w, b]) => e.layerNorm(x, w, b, epsilon),
  }),
);

const batchNorm = fc
  .tuple(fc.integer({ min: 1, max: 3 }), extent, extent, fc.integer({ min: 2, max: 4 }), fc.constantFrom(1e-5, 0.1))
  .map(
    ([n, c, height, width, epsilon]): Case => ({
      label: show([n, c, height, width, epsilon]),
      shapes: [[n + 1, c, height, width], [c], [c]],
      values: 'apart',
      // Values apart are large; smaller weights keep the outputs' rounding below the tolerance.
      build: ([x, w, b]) => e.batchNorm(x, e.mul(w, 0.0625), b, epsilon).output,
    }),
  );

interface Sliding {
  n: number;
  c: number;
  o: number;
  depthwise: boolean;
  kernel: [number, number];
  stride: number;
  padding: number;
  /** Extents of the side the kernel slides over. */
  image: [number, number];
}

const small = fc.integer({ min: 1, max: 3 });

/** Kernels, strides and paddings with images on which at least one window fits; some rows may be left over. */
const sliding: fc.Arbitrary<Sliding> = fc
  .record({
    n: fc.integer({ min: 1, max: 2 }),
    c: small,
    o: small,
    depthwise: fc.boolean(),
    kernel: fc.tuple(small, small),
    stride: small,
    padding: fc.nat(2),
    extra: fc.tuple(fc.nat(4), fc.nat(4)),
  })
  .map(({ extra, ...rest }) => ({
    ...rest,
    image: rest.kernel.map((k, i) => Math.max(1, k - 2 * rest.padding) + extra[i]) as [number, number],
  }));

const conv = fc.tuple(sliding, fc.boolean()).map(([drawn, biased]): Case => {
  const { n, c, o, depthwise, kernel, stride, padding, image } = drawn;
  const weight = depthwise ? [c, 1, ...kernel] : [o, c, ...kernel];
  return {
    label: show(drawn),
    shapes: [[n, c, ...image], weight, ...(biased ? [[weight[0]]] : [])],
    build: ([x, w, b]) => e.conv2d(x, w, b, { stride, padding, group: depthwise ? c : 1 }),
  };
});

const convWeight = sliding.map((drawn): Case => {
  const { n, c, o, kernel, stride, padding, image } = drawn;
  const out = image.map((extent, i) => Math.floor((extent + 2 * padding - kernel[i]) / stride) + 1);
  return {
    label: show(drawn),
    shapes: [
      [n, c, ...image],
      [n, o, ...out],
    ],
    build: ([x, y]) => e.convWeight2d(x, y, kernel, { stride, padding }),
  };
});

const convTranspose = sliding.map((drawn): Case => {
  const { n, c, o, depthwise, kernel, stride, padding, image } = drawn;
  const out = image.map((extent, i) => Math.floor((extent + 2 * padding - kernel[i]) / stride) + 1);
  return {
    label: show(drawn),
    shapes: [
      [n, c, ...out],
      [c, depthwise ? 1 : o, ...kernel],
    ],
    build: ([x, w]) => e.convTranspose2d(x, w, image[0], image[1], { stride, padding, group: depthwise ? c : 1 }),
  };
});

const pool = (operator: typeof e.avgPool2d, values?: Case['values']): fc.Arbitrary<Case> =>
  fc
    .record({ n: small, c: small, kernel: small, stride: fc.option(small, { nil: undefined }), padding: fc.nat(1) })
    .chain(drawn => fc.tuple(fc.constant(drawn), extent, extent))
    .map(([{ n, c, kernel, stride, padding: wanted }, height, width]) => {
      const padding = 2 * wanted > kernel ? 0 : wanted;
      const image = [height, width].map(extra => Math.max(1, kernel - 2 * padding) + extra - 1);
      return {
        label: show({ n, c, kernel, stride, padding, image }),
        shapes: [[n, c, ...image]],
        values,
        build: ([x]) => operator(x, kernel, { stride, padding }),
      };
    });

const cases: Cases = {
  Softmax: alongAxis(e.softmax),
  LogSoftmax: alongAxis(e.logSoftmax),
  LayerNormalization: layerNorm,
  BatchNorm: batchNorm,
  Conv: conv,
  ConvWeight: convWeight,
  ConvTranspose: convTranspose,
  AveragePool: pool(e.avgPool2d),
  MaxPool: pool(e.maxPool2d, 'apart'),
  Upsample: fc.tuple(small, small, extent, extent, small).map(([n, c, height, width, factor]) => ({
    label: `upsample by ${factor}`,
    shapes: [[n, c, height, width]],
    build: ([x]) => e.upsample2d(x, factor),
  })),
};

describeRules('the layers', layers, cases);
