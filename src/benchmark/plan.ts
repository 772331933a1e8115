/** What is to be computed: the cells of the table and of the ablations, each method or variant with each seed. */
import type { Ablation, AblationBase, Variant } from './ablation.ts';
import type { Method } from './method.ts';

/** One method with one seed, in the table or in an ablation. */
export interface Cell {
  seed: number;
  variant: Variant;
  /** Without one the cell is of the table. */
  ablation?: string;
}

/** An ablation with its variants, as results.json keeps it. */
export interface PlannedAblation extends Omit<Ablation, 'variants'> {
  variants: Variant[];
}

export interface Plan {
  methods: readonly Method[];
  ablations: PlannedAblation[];
  /** In the order they are computed: seed by seed, the table first, so that a table of fewer seeds is whole early. */
  cells: Cell[];
}

/** The cells of methods and ablations over the seeds. */
export function planCells(
  methods: readonly Method[],
  ablations: readonly Ablation[],
  seeds: readonly number[],
  base: AblationBase,
): Plan {
  const planned = ablations.map(({ variants, ...about }) => ({ ...about, variants: variants(base) }));
  const table = methods.map((method): Variant => ({ name: method.name, method, settings: {} }));
  return {
    methods,
    ablations: planned,
    cells: [
      ...seeds.flatMap(seed => table.map(variant => ({ seed, variant }))),
      ...seeds.flatMap(seed =>
        planned.flatMap(({ name, variants }) => variants.map(variant => ({ seed, variant, ablation: name }))),
      ),
    ],
  };
}
