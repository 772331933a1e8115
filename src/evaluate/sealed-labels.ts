/** True labels under seal, for rooms that carry them without seeing them. */
export { type SealedLabels, sealLabels, type TrueClass, type Truth } from './open-labels.ts';
