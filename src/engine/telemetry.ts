/**
 * Keeps ONNX Runtime from reporting to its makers, which from 1.29 on it does about every session and machine unless this is set
 * before the first one. Whoever wants the reports sets the variable to 0. A worker thread has an environment of its own, so the
 * main thread has to import this.
 */
process.env.ORT_DISABLE_TELEMETRY ??= '1';
