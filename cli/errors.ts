/** Errors of the command line: one table of codes with exit code and fix; what, why, fix, and where to read. */

export const exitCode = {
  ok: 0,
  failure: 1,
  usage: 2,
  checksFailed: 3,
  unreachable: 4,
  timeout: 5,
  interrupted: 130,
} as const;

export const docsBase = 'https://mesh.dev/docs';

const { failure, usage, checksFailed, unreachable, timeout, interrupted } = exitCode;
const readErrors = 'Run `mesh check`, which says what is wrong.';

/** Every error there is: its code is an anchor of docs/errors.md; `fix` holds where the place that throws has none better. */
export const errorTable = {
  usage: { exit: usage, fix: 'Run `mesh --help`.' },
  internal: { exit: failure, fix: 'Run the command again with --debug to see where it comes from.' },
  interrupted: { exit: interrupted, fix: 'Run the command again.' },
  declined: { exit: failure, fix: 'Answer with y, or pass --yes.' },
  // The configured cluster.
  'kubeconfig-missing': { exit: unreachable, fix: 'Name an existing file, or unset KUBECONFIG for the local mesh.' },
  'kubeconfig-invalid': { exit: unreachable, fix: 'Compare it with `kubectl config view`.' },
  'cluster-unreachable': {
    exit: unreachable,
    fix: 'Check the address and the network, or choose another cluster with --context.',
  },
  unauthorized: { exit: unreachable, fix: 'Renew the credentials of this context.' },
  forbidden: { exit: unreachable, fix: 'Ask for this right, or use another --context or --as.' },
  'kubernetes-refused': { exit: failure, fix: 'Correct what the message names.' },
  'unknown-kind': { exit: failure, fix: 'Install its CustomResourceDefinition, or correct apiVersion and kind.' },
  'not-found': { exit: failure, fix: 'Name another namespace with -n, or list what there is with `mesh stat all -A`.' },
  // Manifests.
  'unreadable-input': { exit: failure, fix: 'Check the path.' },
  'broken-yaml': { exit: failure, fix: 'Correct the YAML there.' },
  'not-utf8': { exit: failure, fix: 'Convert it, for example with `iconv -f ISO-8859-1 -t UTF-8`.' },
  'no-objects': { exit: failure, fix: 'Look at what wrote it: a command before this one may have failed.' },
  'not-an-object': { exit: failure, fix: 'Remove the document, or give it apiVersion, kind and metadata.name.' },
  'cannot-inject': {
    exit: failure,
    fix: 'Correct it, leave it out, or set mesh.dev/inject: disabled on its pod template; nothing was printed.',
  },
  // The control plane.
  'mesh-not-installed': { exit: failure, fix: 'Run `mesh install`.' },
  'control-not-ready': { exit: unreachable, fix: readErrors },
  'control-unreachable': { exit: unreachable, fix: readErrors },
  'control-refused': { exit: failure, fix: 'Compare the versions with `mesh version`.' },
  'control-timeout': { exit: timeout, fix: 'Run `mesh check`, or wait longer with --wait 10m.' },
  'cni-timeout': { exit: timeout, fix: 'Run `mesh check`, or wait longer with --wait 10m.' },
  'bad-query': { exit: failure, fix: 'Compare the versions with `mesh version`.' },
  'checks-failed': { exit: checksFailed, fix: 'Do what each failed check says.' },
  // Proxies.
  'not-meshed': { exit: failure, fix: 'Add a proxy with `mesh inject`, or see why with `mesh check --proxy`.' },
  'proxy-unreachable': { exit: unreachable, fix: 'Look at `mesh check --proxy` and `mesh logs POD -c mesh-proxy`.' },
  'proxy-refused': {
    exit: failure,
    fix: 'Compare the versions with `mesh version`; restart the workload for a new proxy.',
  },
  // Measurements.
  'cannot-bench': { exit: failure, fix: 'Measure another deployment, or one made for it.' },
  'bench-running': { exit: failure, fix: 'Wait for it.' },
  'bench-failed': {
    exit: failure,
    fix: 'Name what answers a plain GET with `--path` and `--port`; see `mesh logs` of the workload.',
  },
  'bench-timeout': { exit: timeout, fix: 'Look at the events of its pods, or wait longer with --wait 10m.' },
  // What takes long.
  'delete-timeout': { exit: timeout, fix: 'Look at its finalizers and events, or wait longer with --wait 10m.' },
  'uninstall-timeout': { exit: timeout, fix: 'Look at `kubectl describe namespace mesh-system`, or pass --wait 10m.' },
  'pods-still-meshed': { exit: failure, fix: 'Take the proxy out of them with `mesh uninject`, or pass --force.' },
  'namespace-terminating': {
    exit: failure,
    fix: 'Wait until `kubectl get namespace mesh-system` no longer finds it, then install again.',
  },
  'kubernetes-too-old': { exit: failure, fix: 'Upgrade the cluster.' },
  'injector-unreachable': { exit: timeout, fix: 'Let the API server through to the pods of the control plane.' },
  'restart-stopped': { exit: failure, fix: 'Look at `mesh stat`, and run the command again when it is well.' },
  'restart-timeout': { exit: timeout, fix: 'Look at `kubectl rollout status`.' },
  // The local mesh of this machine.
  'local-mesh-not-running': {
    exit: unreachable,
    fix: 'Run `mesh install` to start the local mesh, or set KUBECONFIG to use a cluster.',
  },
  'no-user-namespaces': { exit: failure, fix: 'Allow user namespaces, or run mesh with sudo.' },
  'no-uidmap': { exit: failure, fix: 'Install the package uidmap, or run mesh with sudo.' },
  'no-subids': { exit: failure, fix: 'Grant this user subordinate ids, or run mesh with sudo.' },
  'kernel-too-old': { exit: failure, fix: 'Use Linux 5.11 or newer, or run mesh with sudo.' },
  'no-nft': { exit: failure, fix: 'Install the package nftables.' },
  'no-tool': { exit: failure, fix: 'Install the program.' },
  'overlay-missing': { exit: failure, fix: 'Run `modprobe overlay`.' },
  'not-built': { exit: failure, fix: 'Run `npm run build`.' },
  busy: { exit: failure, fix: 'Wait until the other command has ended.' },
  'port-in-use': { exit: failure, fix: 'End the process that listens there.' },
  'state-corrupt': { exit: failure, fix: 'Move the file aside, or restore a copy of it.' },
  'state-newer': {
    exit: failure,
    fix: 'Use the version of mesh that wrote it, or move the file aside to start empty.',
  },
  'state-unwritable': { exit: failure, fix: 'Make it writable, or set MESH_HOME to a folder that is.' },
  'folder-not-writable': { exit: failure, fix: 'Set MESH_HOME to a folder of this user.' },
  'disk-full': { exit: failure, fix: 'Free some space there.' },
  'not-removed': { exit: failure, fix: 'Remove what is named, as root where need be.' },
  'start-failed': { exit: failure, fix: 'Read the log; `mesh check --pre` looks at this machine.' },
  'start-timeout': { exit: timeout, fix: 'Read the log; `mesh check --pre` looks at this machine.' },
  // Images of the local mesh.
  'image-of-cluster': {
    exit: failure,
    fix: 'Unset KUBECONFIG for the local mesh; for a cluster, push the image to its registry.',
  },
  'image-archive-broken': { exit: failure, fix: 'Write the archive again, and check the copy.' },
  'image-archive-unsafe': { exit: failure, fix: 'Do not use this archive; find out who made it.' },
  'image-platform-missing': { exit: failure, fix: "Save the image of this machine's platform." },
  'image-name-needed': { exit: failure, fix: 'Pass --name NAME for an archive of one image.' },
  'image-name-invalid': { exit: failure, fix: 'Use a name such as shop/web:1.0.' },
  'image-too-large': { exit: failure, fix: 'Use a smaller image.' },
  'image-not-found': { exit: failure, fix: '`mesh image list` shows those that are loaded.' },
  'image-in-use': { exit: failure, fix: 'Delete these pods first, or what makes them.' },
  'image-store-broken': { exit: failure, fix: 'Remove the folder that is named and load the images again.' },
  'image-failed': { exit: failure, fix: 'Run the command again with --debug.' },
} as const satisfies Record<string, { exit: number; fix: string }>;

export type ErrorCode = keyof typeof errorTable;

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(errorTable, text);

export interface CliErrorOptions {
  code: ErrorCode;
  /** What went wrong: a sentence that names the object, without a full stop. */
  message: string;
  /** Why, where it is known. */
  cause?: unknown;
  /** What to do, where the table's does not fit. */
  fix?: string | undefined;
}

/** An error a user can act on. Anything else that is thrown is a defect of the CLI. */
export class CliError extends Error {
  readonly code: ErrorCode;
  readonly fix: string;

  constructor(options: CliErrorOptions) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CliError';
    this.code = options.code;
    this.fix = options.fix ?? errorTable[options.code].fix;
  }

  get exit(): number {
    return errorTable[this.code].exit;
  }

  get docs(): string {
    return `${docsBase}/errors#${this.code}`;
  }
}

/** Command line used wrongly: exit 2, and how to see help. */
export class UsageError extends CliError {
  constructor(message: string, fix?: string) {
    super({ code: 'usage', message, fix });
    this.name = 'UsageError';
  }
}

/** An error of another part that brings a code and a fix of its own (the local mesh). */
export function fromPart(error: Error & { code: string; fix: string }): CliError {
  const code = isErrorCode(error.code) ? error.code : 'internal';
  const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
  return new CliError({
    code,
    message: sentence(error.message.replace(/\.$/, '')),
    fix: sentence(error.fix),
    cause: error,
  });
}
