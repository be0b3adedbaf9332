/** A failing service three layers deep, with retries asked for at each: its load stays near what is offered. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Chain, faults } from '../support/chain.ts';
import { unable } from '../support/ground.ts';
import { installMesh } from '../support/installed-mesh.ts';
import type { TestMesh } from '../support/mesh.ts';

const requests = 400;

describe.skipIf(unable)('a retry storm', () => {
  let mesh: TestMesh;
  let chain: Chain;

  beforeAll(async () => {
    mesh = await installMesh('retry-storm');
    chain = await Chain.start(mesh, ['mesh']);
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  test.each(faults)('that does not come, where the last service fails: %s', async (fault) => {
    const { good, load } = await chain.run('mesh', fault, requests);
    // There are retries, and of all layers together no more than one layer's budget.
    expect(load).toBeGreaterThan(requests);
    expect(load).toBeLessThan(requests * 1.3);
    if (fault === 'half') expect(good).toBeGreaterThan(requests * 0.4);
    else expect(good).toBe(0);
  });
});
