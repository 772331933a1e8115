/** What a MUST training is before anything of it is computed: its settings, its steps, its masks, its states and its key. */
import { planSteps, type StepPlan } from '../schedule.ts';
import { withDefaults } from '../settings.ts';
import type { Kept } from '../standing.ts';
import { type MaskGrid, maskGrid } from './masks.ts';
import {
  checkMust,
  MUST_SETTINGS,
  type MustData,
  type MustMethodSettings,
  type MustSettings,
  mustKey,
} from './settings.ts';
import { type MustStates, mustShapes } from './states.ts';

export interface MustPlan {
  readonly settings: MustMethodSettings;
  readonly steps: StepPlan;
  readonly grid: MaskGrid;
  readonly states: MustStates;
  readonly kept: Kept;
}

/**
 * Checks data and settings.
 * @param folder of the checkpoints
 * @throws S3aError MODEL for a tower that has no patches to mask; SHAPE, WEIGHTS or VALUE for data and settings that do not fit
 */
export function planMust(data: MustData, options: MustSettings, folder: string): MustPlan {
  const { config, files, prototypes } = data;
  const settings = withDefaults(MUST_SETTINGS, options);
  const grid = maskGrid(config, settings.maskRatio, options.maskPatch);
  checkMust(data, settings);
  const steps = planSteps({ images: files.length, ...settings });
  const states = { config, names: prototypes.length / config.projection_dim, trainHead: settings.trainHead };
  const key = mustKey(data, settings, options.maskPatch);
  return { settings, steps, grid, states, kept: { folder, shapes: mustShapes(states), key } };
}
