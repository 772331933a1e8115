import { Command, CommanderError } from 'commander';
import { expect, test } from 'vitest';
import { SETTINGS } from '../config/settings.ts';
import { addSettings, settingSources } from './flags.ts';

/** The settings that a command line gives, or what commander says. */
function given(...args: string[]): unknown {
  let said = '';
  const say = (text: string): void => {
    said += text;
  };
  const command = addSettings(new Command('fit').exitOverride().configureOutput({ writeErr: say }));
  try {
    command.parse(args, { from: 'user' });
    return settingSources(command).flags;
  } catch (error) {
    if (error instanceof CommanderError) return said.trim();
    throw error;
  }
}

test('every setting is a flag with its text in --help', () => {
  const help = addSettings(new Command('fit'))
    .configureOutput({ getOutHelpWidth: () => 1000 })
    .helpInformation();
  for (const { flag, default: value } of SETTINGS) {
    expect(help).toMatch(new RegExp(`^  --${value === true ? 'no-' : ''}${flag}[ ]`, 'm'));
  }
  for (const { description, kind } of SETTINGS) {
    if (kind !== 'boolean') expect(help).toContain(description);
  }
  expect(help).toContain('(default: openai/clip-vit-base-patch16)');
  expect(help).toContain('Phrases for the prompt step:');
});

test('flags become settings of the right type, and only those that were given', () => {
  expect(given()).toEqual({});
  expect(given('--k', '12', '--lr', '1e-4', '--model', '7', '--llm', 'openai', '--no-recursive')).toEqual({
    k: 12,
    lr: 1e-4,
    model: '7',
    llm: 'openai',
    recursive: false,
  });
  expect(
    given('--k', 'estimate', '--template', 'a {}', '--template', 'the {}', '--phrase-format={name} {phrase}'),
  ).toEqual({
    k: 'estimate',
    templates: ['a {}', 'the {}'],
    phraseFormats: ['{name} {phrase}'],
  });
});

test.each([
  [['--epochs', '1.5'], "'--epochs <n>' argument '1.5' is invalid. It must be a whole number from 1 to 100000."],
  [['--epochs', ''], "argument '' is invalid. It must be a whole number from 1 to 100000."],
  [['--lr', '-1'], "argument '-1' is invalid. It must be a number above 0 to 1."],
  [['--k', 'many'], "argument 'many' is invalid. It must be a whole number from 1 to 1000000 or estimate or auto."],
  [['--device', 'gpu'], "argument 'gpu' is invalid. It must be one of cpu, webgpu, cuda, auto."],
  [['--template', 'cat'], "argument 'cat' is invalid. It must be a text with {} where the name goes."],
  [['--model', ''], "argument '' is invalid. It must be a text that is not empty."],
  [['--preset', 'fast'], 'Allowed choices are paper, cpu, quick.'],
  [['--epochs'], "option '--epochs <n>' argument missing"],
  [['--epocs', '3'], '(Did you mean --epochs?)'],
])('%j is one clear line', (args, message) => {
  expect(given(...args)).toContain(message);
});
