/** A failure of loading or removing images, for people to read. */
export class ImageFailure extends Error {
  /** Stable, a section of docs/errors.md. */
  readonly code: string;
  readonly fix: string;

  constructor(code: string, message: string, fix: string) {
    super(message);
    this.name = 'ImageFailure';
    this.code = code;
    this.fix = fix;
  }
}

const again = 'Write it again, e.g. with `docker save` or `skopeo copy … oci-archive:FILE:NAME`, and check the copy.';

/** The archive is not what it says it is. */
export function broken(message: string): ImageFailure {
  return new ImageFailure('image-archive-broken', message, again);
}

/** The archive tries to reach out of the image. */
export function unsafe(message: string): ImageFailure {
  return new ImageFailure('image-archive-unsafe', message, 'Do not use this archive; find out who made it.');
}
