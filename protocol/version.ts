declare const MESH_VERSION: string | undefined;

/** Version of this build; the bundler fills it in, a run from source says `dev`. */
export const version: string = typeof MESH_VERSION === 'string' ? MESH_VERSION : '0.1.0-dev';
