/** Capabilities of containers, by the kernel's names without CAP_, lower case. */

/** In the order of their numbers (linux/capability.h). */
const names = [
  ...['chown', 'dac_override', 'dac_read_search', 'fowner', 'fsetid', 'kill', 'setgid', 'setuid', 'setpcap'],
  ...['linux_immutable', 'net_bind_service', 'net_broadcast', 'net_admin', 'net_raw', 'ipc_lock', 'ipc_owner'],
  ...['sys_module', 'sys_rawio', 'sys_chroot', 'sys_ptrace', 'sys_pacct', 'sys_admin', 'sys_boot', 'sys_nice'],
  ...['sys_resource', 'sys_time', 'sys_tty_config', 'mknod', 'lease', 'audit_write', 'audit_control', 'setfcap'],
  ...['mac_override', 'mac_admin', 'syslog', 'wake_alarm', 'block_suspend', 'audit_read', 'perfmon', 'bpf'],
  'checkpoint_restore',
];

/** What container runtimes leave to a process that asks for nothing. */
const usual = [
  ...['chown', 'dac_override', 'fowner', 'fsetid', 'kill', 'setgid', 'setuid', 'setpcap', 'net_bind_service'],
  ...['net_raw', 'sys_chroot', 'mknod', 'audit_write', 'setfcap'],
];

/** Unknown names throw: a program that was promised a right must not start without it in silence. */
export function capabilityNumbers(wanted: string[]): number[] {
  return wanted.map((name) => {
    const number = names.indexOf(name);
    if (number < 0) throw new Error(`unknown capability ${name.toUpperCase()}`);
    return number;
  });
}

/** What a security context leaves; undefined keeps all of them. */
export function capabilitiesOf(security: {
  privileged?: boolean;
  capabilities?: { add?: string[]; drop?: string[] };
}): string[] | undefined {
  const plain = (listed: string[] = []): string[] => listed.map((one) => one.toLowerCase().replace(/^cap_/, ''));
  const [add, drop] = [plain(security.capabilities?.add), new Set(plain(security.capabilities?.drop))];
  if (security.privileged === true || add.includes('all')) return undefined;
  const kept = drop.has('all') ? [] : usual.filter((one) => !drop.has(one));
  return [...new Set([...kept, ...add])];
}
