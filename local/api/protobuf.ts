/**
 * Bodies in Kubernetes' protobuf encoding, which kubectl prefers for objects it makes itself (`create`, `auth can-i`).
 * Only those kinds are read; a field that is not known here is refused rather than lost. Field numbers are those of
 * the generated.proto files of k8s.io/api.
 */
import type { Json } from '../../kube/types.ts';
import { messages } from './protobuf-fields.ts';
import { badRequest, StatusError } from './status-error.ts';

const magic = Buffer.from('k8s\0', 'latin1');
const refuse = (what: string): StatusError =>
  new StatusError(415, 'UnsupportedMediaType', `protobuf with ${what} is not understood here; send JSON`);

interface Field {
  number: number;
  /** A number for varints, the bytes otherwise. */
  value: number | Buffer;
}

function* fields(data: Buffer): Generator<Field> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = data[at++];
      if (byte === undefined) throw badRequest('the protobuf body is cut short');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw badRequest('the protobuf body has an endless number');
  };
  while (at < data.length) {
    const tag = Number(varint());
    if ((tag & 7) === 0) yield { number: tag >> 3, value: Number(BigInt.asIntN(64, varint())) };
    else if ((tag & 7) === 2) {
      const length = Number(varint());
      if (at + length > data.length) throw badRequest('the protobuf body is cut short');
      yield { number: tag >> 3, value: data.subarray(at, at + length) };
      at += length;
    } else throw refuse('fixed-width numbers');
  }
}

const isEmpty = (value: Json): boolean =>
  value === '' || value === 0 || value === false || (typeof value === 'object' && Object.keys(value).length === 0);

function scalar(kind: string, value: number | Buffer): Json {
  const asBytes = (): Buffer => {
    if (typeof value === 'number') throw badRequest('the protobuf body has a number where bytes belong');
    return value;
  };
  if (kind === 'string') return asBytes().toString();
  if (kind === 'bytes') return asBytes().toString('base64');
  if (kind === 'intOrString') {
    const parts = new Map([...fields(asBytes())].map((field) => [field.number, field.value]));
    return parts.get(1) === 1 ? String(parts.get(3) ?? '') : (parts.get(2) ?? 0);
  }
  if (kind === 'quantity') return [...fields(asBytes())].map((field) => String(field.value)).join('');
  if (kind === 'int' || kind === 'bool') {
    if (typeof value !== 'number') throw badRequest('the protobuf body has bytes where a number belongs');
    return kind === 'bool' ? value === 1 : value;
  }
  return message(kind, asBytes());
}

function message(name: string, data: Buffer): Json {
  const known = messages[name];
  if (!known) throw refuse(name);
  const object: Json = {};
  for (const { number, value } of fields(data)) {
    const field = known[number];
    if (!field) {
      // Go writes fields that are not set as zero or as nothing.
      if (value === 0 || (value instanceof Buffer && value.length === 0)) continue;
      throw refuse(`field ${number} of ${name}`);
    }
    const { name: key, kind, form } = field;
    if (form === 'skip') continue;
    if (form === 'list') {
      object[key] ??= [];
      object[key].push(scalar(kind, value));
    } else if (form === 'map') {
      const entry = new Map([...fields(value as Buffer)].map((part) => [part.number, part.value]));
      object[key] ??= {};
      object[key][String(entry.get(1) ?? '')] = scalar(kind, entry.get(2) ?? Buffer.alloc(0));
    } else {
      const read = scalar(kind, value);
      if (form === 'pointer' || !isEmpty(read)) object[key] = read;
    }
  }
  return object;
}

/** The object of a protobuf body. @throws StatusError 415 for kinds and fields that are not read here */
export function decodeProtobuf(body: Buffer): Json {
  if (body.length === 0) return undefined;
  if (!body.subarray(0, 4).equals(magic)) throw badRequest('the body does not begin as Kubernetes protobuf does');
  let type: Json = {};
  let raw: Buffer = Buffer.alloc(0);
  for (const { number, value } of fields(body.subarray(4))) {
    if (number === 1) type = message('TypeMeta', value as Buffer);
    else if (number === 2) raw = value as Buffer;
  }
  return { apiVersion: type.apiVersion, kind: type.kind, ...message(String(type.kind), raw) };
}
