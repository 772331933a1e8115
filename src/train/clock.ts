/** How fast the steps of a training come, and how long those that are left take. */
import type { StepPlan } from './schedule.ts';

export interface StepTime {
  readonly imagesPerSecond: number;
  /** Of the whole training, by its mean speed in this process. */
  readonly secondsLeft: number;
}

export interface StepClock {
  /** The steps of an epoch begin. */
  begin(): void;
  /**
   * A call of the device has ended.
   * @returns the time of the next step that ended in it, from the share of the call's runs that were made by then: they took
   * equally long
   */
  ended(): (share: number) => StepTime;
}

/**
 * A clock of a training.
 * @param done steps that were done before
 */
export function startClock({ batch, totalSteps }: StepPlan, done: number): StepClock {
  const began = performance.now();
  let step = done;
  let [callBegan, stepBegan] = [began, began];
  return {
    begin() {
      callBegan = performance.now();
      stepBegan = callBegan;
    },
    ended() {
      const from = callBegan;
      const to = performance.now();
      callBegan = to;
      return share => {
        const now = from + (to - from) * share;
        const imagesPerSecond = (1000 * batch) / (now - stepBegan);
        stepBegan = now;
        step++;
        return { imagesPerSecond, secondsLeft: ((totalSteps - step) * (now - began)) / (step - done) / 1000 };
      };
    },
  };
}
