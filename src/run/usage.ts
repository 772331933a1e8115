/** The chapter of a model card on how to use the files; docs/export.md says more. */
import type { Precision } from '../clip/export/onnx.ts';

export interface UsageFacts {
  readonly names: readonly string[];
  readonly onnx: readonly Precision[];
  readonly openClip?: boolean;
  readonly inPython: boolean;
  /** A text with {} for the name. */
  readonly template?: string;
}

/** Snippets for what the folder has files for, or '' where only s3a loads it. `this-folder` stands for its path, or its name on the hub. */
export function usageChapter({ names, onnx, openClip = false, inPython, template }: UsageFacts): string {
  const text = JSON.stringify(template ?? 'a photo of a {}.');
  const candidates = names.length > 0 ? 'classes' : "['cat', 'dog']";
  const [dtype] = [onnx.includes('float32') ? 'fp32' : onnx.includes('float16') ? 'fp16' : 'q8'];
  const python = `\`\`\`python
${names.length > 0 ? `import json\n` : ''}from transformers import pipeline

${names.length > 0 ? `classes = json.load(open('this-folder/classes.json'))['names']\n` : ''}classify = pipeline('zero-shot-image-classification', model='this-folder')
print(classify('photo.jpg', candidate_labels=${candidates}, hypothesis_template=${text})[0])
\`\`\``;
  const javascript = `\`\`\`js
import { pipeline } from '@huggingface/transformers';

const classify = await pipeline('zero-shot-image-classification', 'this-folder', { dtype: '${dtype}' });
${names.length > 0 ? `const { names: classes } = await (await fetch('this-folder/classes.json')).json();\n` : ''}console.log((await classify('photo.jpg', ${candidates}, { hypothesis_template: ${text} }))[0]);
\`\`\``;
  const openclip = `\`\`\`python
import open_clip

model, preprocess = open_clip.create_model_from_pretrained('local-dir:this-folder')
tokenizer = open_clip.get_tokenizer('local-dir:this-folder')
\`\`\``;
  const snippets = [
    ...(inPython ? [python] : []),
    ...(onnx.length > 0 ? [javascript] : []),
    ...(openClip ? [openclip] : []),
  ];
  return snippets.length === 0 ? '' : ['## Use', ...snippets].join('\n\n');
}
