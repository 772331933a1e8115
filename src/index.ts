/** The library: what the command line does, a few lines of this do. */
export { type BenchOptions, bench } from './benchmark/bench.ts';
export type { BenchResults } from './benchmark/results.ts';
export { type Clip, loadClip } from './clip/clip.ts';
export { prototypes, TEMPLATES } from './clip/prototypes.ts';
export { PRESETS, type PresetName } from './config/presets.ts';
export { resolveConfig } from './config/resolve.ts';
export { type Config, type ConfigInput, parseConfig } from './config/schema.ts';
export { S3aError } from './errors.ts';
export { type EvaluateOptions, evaluate, type Report } from './evaluate/evaluate.ts';
export {
  type CachedModel,
  type DownloadProgress,
  listCached,
  type ModelPlace,
  type ResolveOptions,
  resolveModel,
} from './hub/index.ts';
export { type BatchRequest, createLoader, type Loader, type LoaderOptions } from './images/loader.ts';
export type { TextAnswer, TextModel, TextRequest } from './llm/text-model.ts';
export { type Classification, type Classifier, type ClassifierOptions, openClassifier } from './run/classifier.ts';
export { type Check, type DoctorReport, doctor } from './run/doctor.ts';
export { type EvaluateRunOptions, evaluateRun, type RunReport } from './run/evaluate-run.ts';
export type { RunEvent, RunHooks, RunSummary, StageName, StepName } from './run/events.ts';
export { type ExportOptions, type ExportReport, exportModel } from './run/export.ts';
export { discover, type FitOptions, fit, train } from './run/fit.ts';
export { type ImageLabel, readLabels } from './run/labels.ts';
export { type Prediction, type PredictOptions, predict } from './run/predict.ts';
export { runStep } from './run/steps.ts';
export type { Tracker } from './track/tracker.ts';
export { type Hierarchy, hierarchyOf } from './vocab/hierarchy.ts';
export { type WordTree, wordTrees } from './vocab/tree.ts';
export {
  type Concept,
  loadVocabulary,
  type Meaning,
  makeVocabulary,
  type Vocabulary,
  type VocabularyEntry,
} from './vocab/vocabulary.ts';
