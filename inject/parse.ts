/** Reads the documents of a manifest as kubectl reads them, with every position that editing needs. */
import { type Document, LineCounter, parseAllDocuments, type ScalarTag } from 'yaml';

// biome-ignore lint/suspicious/noExplicitAny: objects of any kind pass through
type Json = any;

export interface Position {
  line: number;
  col: number;
}

/** Broken YAML, and where; both count from 1. */
export class ManifestError extends Error {
  readonly position: Position;
  constructor(position: Position, message: string) {
    super(message);
    this.position = position;
  }
}

export interface Parsed {
  document: Document;
  /** Where its content starts. */
  position: Position;
  value: Json;
}

/** `defaultMode: 0644` is octal to Kubernetes (YAML 1.1), where YAML 1.2 would read 644. */
const octal: ScalarTag = {
  tag: 'tag:yaml.org,2002:int',
  identify: () => false,
  default: true,
  test: /^[-+]?0[0-7]+$/,
  resolve: (text) => Number.parseInt(text, 8),
};

const firstLine = (message: string) => (message.split(/ at line|\n/)[0] ?? '').trim();

/** @throws ManifestError */
export function parseManifest(source: string): Parsed[] {
  const lines = new LineCounter();
  const options = {
    keepSourceTokens: true,
    lineCounter: lines,
    // kubectl reads merge keys (<<) too
    merge: true,
    customTags: (tags: unknown[]) => [octal, ...tags] as ScalarTag[],
  };
  return parseAllDocuments(source, options).map((document) => {
    const position = lines.linePos(document.contents?.range?.[0] ?? document.range[0]);
    const [error] = document.errors;
    if (error) throw new ManifestError(error.linePos?.[0] ?? position, firstLine(error.message));
    try {
      return { document, position, value: document.toJS() };
    } catch (error) {
      // an alias without its anchor, or aliases that unfold without end
      throw new ManifestError(position, firstLine((error as Error).message));
    }
  });
}
