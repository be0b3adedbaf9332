/** A refusal in Kubernetes' own shape. */
import type { KubeStatus } from '../../kube/types.ts';

export class StatusError extends Error {
  readonly status: KubeStatus;

  constructor(code: number, reason: string, message: string, details?: object) {
    super(message);
    this.name = 'StatusError';
    this.status = { kind: 'Status', code, reason, message, ...(details ? { details } : {}) };
  }

  /** Body of the HTTP response. */
  get body(): object {
    return { apiVersion: 'v1', metadata: {}, ...this.status, status: 'Failure' };
  }
}

export const notFound = (plural: string, name: string): StatusError =>
  new StatusError(404, 'NotFound', `${plural} "${name}" not found`, { name, kind: plural });
export const conflict = (plural: string, name: string): StatusError =>
  new StatusError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${plural} "${name}": the object has been modified; please apply your changes to the latest version and try again`,
    { name, kind: plural },
  );
export const invalid = (kind: string, name: string, field: string, why: string): StatusError =>
  new StatusError(422, 'Invalid', `${kind} "${name}" is invalid: ${field}: ${why}`, {
    name,
    kind,
    causes: [{ field, message: why }],
  });
/** A 422 of several causes; kubectl prints each on a line of its own. */
export function invalidFields(
  type: { kind: string; group: string },
  name: string,
  problems: { field: string; reason: string; message: string }[],
): StatusError {
  const texts = problems.map(({ field, message }) => `${field}: ${message}`);
  const what = `${type.kind}${type.group ? `.${type.group}` : ''} "${name}" is invalid`;
  const why = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  return new StatusError(422, 'Invalid', `${what}: ${why}`, {
    name,
    group: type.group,
    kind: type.kind,
    causes: problems,
  });
}

export const badRequest = (message: string): StatusError => new StatusError(400, 'BadRequest', message);
