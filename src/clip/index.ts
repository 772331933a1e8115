/** CLIP: both towers, their weights on disk, and what makes images and texts comparable. */

export * from './checkpoint/checkpoint.ts';
export * from './clip.ts';
export * from './encoders.ts';
export * from './export/onnx.ts';
export * from './preprocess.ts';
export * from './prototypes.ts';
export * from './tokenizer/tokenizer.ts';
export * from './towers/batch-norm.ts';
export * from './towers/config.ts';
export * from './towers/initialise.ts';
export * from './towers/parameters.ts';
export * from './towers/resnet.ts';
export * from './towers/text.ts';
export * from './towers/vision.ts';
