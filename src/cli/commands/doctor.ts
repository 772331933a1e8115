/** `s3a doctor`: whether this machine can do the work. */
import { Command, CommanderError } from 'commander';
import type { Device } from '../../engine/index.ts';
import { doctor } from '../../run/doctor.ts';
import { addCommon, type CommonOptions, type Context, perform } from '../context.ts';
import { printable } from '../format.ts';

/** `s3a doctor`, which prints a line a check and fails when one is not ok. */
export function doctorCommand(context: Context): Command {
  const command = new Command('doctor')
    .description('Check versions, memory and disk, and compute something whose result is known.')
    .option('--webgpu', 'Compute on the GPU by WebGPU, too')
    .option('--cuda', 'Compute on the GPU by CUDA, too')
    .option('--out <folder>', 'Folder whose disk to look at (default: the current one)')
    .addHelpText('after', '\nExamples:\n  s3a doctor\n  s3a doctor --webgpu --json');
  return addCommon(command).action(
    async (options: CommonOptions & { webgpu?: boolean; cuda?: boolean; out?: string }) => {
      const gpus = (['webgpu', 'cuda'] as const).filter(device => options[device]);
      const devices: Device[] = ['cpu', ...gpus];
      let ok = true;
      await perform(
        context,
        options,
        undefined,
        async () => {
          const report = await doctor({ devices, folder: options.out });
          ok = report.ok;
          return report;
        },
        ({ checks }) =>
          checks
            .map(({ name, ok, detail, hint }) => {
              const advice = hint === undefined ? '' : ` ${hint}`;
              return `${ok ? 'ok   ' : 'WRONG'}  ${name}: ${printable(detail)}${advice}\n`;
            })
            .join(''),
      );
      // The report has said what is wrong; what is left is the exit code.
      if (!ok) throw new CommanderError(1, 's3a.unhealthy', '');
    },
  );
}
