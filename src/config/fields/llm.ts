/** The settings of the language model that lists phrases (METHOD §2.4). */
import { z } from 'zod';
import { count, text } from './kinds.ts';

export const llmFields = {
  llm: z
    .enum(['gloss', 'replay', 'openai', 'gguf'])
    .default('gloss')
    .describe(
      'Where phrases come from: gloss (offline, from definitions), replay (an earlier run), openai (any server that speaks its API), gguf (a local model file)',
    ),
  llmModel: text().optional().describe('Name of the language model, as its server knows it; for gguf the .gguf file'),
  llmBaseUrl: text()
    .optional()
    .describe(
      'Address of the server, or openai, ollama, vllm, llama.cpp or lmstudio; without it S3A_LLM_BASE_URL, OPENAI_BASE_URL or OpenAI. The key is in S3A_LLM_KEY',
    ),
  llmReplay: text().optional().describe('The prompts.jsonl of an earlier run, for --llm replay'),
  llmRepeats: count(1, 100).default(3).describe('Answers that are counted for each cluster'),
  llmMaxAsks: count(1, 100).default(3).describe('Times that one answer is asked for before it is given up'),
  llmConcurrency: count(1, 256).default(4).describe('Clusters asked about at a time'),
  llmTemperature: z.number().min(0).max(2).default(0.7).describe('Sampling temperature'),
  llmMaxRequests: count(1).optional().describe('Most requests that may be sent in all, those before a resume included'),
  llmTimeout: count(1, 86_400_000).default(120_000).describe('Longest wait for one answer, in milliseconds'),
};
