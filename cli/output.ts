/** `-o`: the formats of a command, and how data is printed in them. */
import { Option } from 'commander';
import type { Io } from './io.ts';

export function outputOption(formats: readonly string[], description?: string): Option {
  const option = new Option('-o, --output <format>', description ?? 'how to print').choices(formats);
  return description === undefined ? option.default(formats[0]) : option;
}

/** Whether a format is data for programs; both hold the same. */
export const isData = (format: string): format is 'json' | 'yaml' => format === 'json' || format === 'yaml';

/** `compact` puts JSON on one line, for a stream of them. */
export async function dataText(format: 'json' | 'yaml', data: object, compact = false): Promise<string> {
  if (format === 'json') return `${compact ? JSON.stringify(data) : JSON.stringify(data, null, 2)}\n`;
  const { stringify } = await import('yaml');
  return `${compact ? '---\n' : ''}${stringify(data)}`;
}

export async function writeData(io: Io, format: 'json' | 'yaml', data: object): Promise<void> {
  io.write(await dataText(format, data));
}
