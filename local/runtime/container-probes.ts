/** What is asked of one start of a container, in its order: the postStart hook, the startup probe, then readiness and
 *  liveness together. */
import { keepProbing, type ProbeTarget, attempt as tryHandler } from './probe.ts';

const hookSeconds = 3_600;

export interface ProbeListener {
  event: (type: 'Normal' | 'Warning', reason: string, message: string) => void;
  /** The program has started for good; `ready` as long as no probe says otherwise. */
  started: (ready: boolean) => void;
  ready: (ready: boolean) => void;
  /** The program has to go. */
  restart: (why: string) => void;
}

/** @param adopted an earlier daemon has started it: `started` where it had seen the startup probe succeed
 *  @returns the way to stop */
export function probeContainer(
  target: ProbeTarget,
  adopted: { started: boolean } | undefined,
  on: ProbeListener,
): () => void {
  const { name, startupProbe, livenessProbe, readinessProbe, lifecycle } = target.container;
  const stops: (() => void)[] = [];
  let stopped = false;
  const unhealthy = (kind: string, reason: string): void =>
    on.event('Warning', 'Unhealthy', `${kind} probe failed: ${reason}`);

  const begun = (): void => {
    if (readinessProbe) {
      stops.push(
        keepProbing(readinessProbe, target, true, {
          success: () => on.ready(true),
          failure: (reason, threshold) => {
            unhealthy('Readiness', reason);
            if (threshold) on.ready(false);
          },
        }),
      );
    }
    if (livenessProbe) {
      stops.push(
        keepProbing(livenessProbe, target, false, {
          success: () => {},
          failure: (reason, threshold) => {
            unhealthy('Liveness', reason);
            if (threshold) on.restart(`Container ${name} failed liveness probe, will be restarted`);
          },
        }),
      );
    }
    // A pod that was ready stays so while it is adopted: its endpoints must not blink.
    on.started(!readinessProbe || adopted !== undefined);
  };

  const startup = (): void => {
    if (!startupProbe || adopted?.started) return begun();
    const stop = keepProbing(startupProbe, target, true, {
      success: () => {
        stop();
        begun();
      },
      failure: (reason, threshold) => {
        unhealthy('Startup', reason);
        if (threshold) on.restart(`Container ${name} failed startup probe, will be restarted`);
      },
    });
    stops.push(stop);
  };

  if (!lifecycle?.postStart || adopted) startup();
  else {
    void tryHandler(lifecycle.postStart, target, hookSeconds).then((problem) => {
      if (stopped) return;
      if (problem === undefined) return startup();
      on.event('Warning', 'FailedPostStartHook', `PostStartHook failed: ${problem}`);
      on.restart('FailedPostStartHook');
    });
  }
  return () => {
    stopped = true;
    for (const stop of stops.splice(0)) stop();
  };
}
