/** Category `mesh-version`: command line and control plane fit. */
import { version } from '../../protocol/version.ts';
import { type Category, CheckWarning } from './check.ts';

export const meshVersion: Category = {
  name: 'mesh-version',
  needs: ['mesh-control-plane'],
  checks: [
    {
      id: 'version-skew',
      description: 'command line and control plane have the same version',
      fix: 'Install the same version of both.',
      run: async (context) => {
        const found = [...new Set((await context.status()).map(({ status }) => status.version))];
        if (found.some((one) => one !== version)) {
          throw new CheckWarning(`command line ${version}, control plane ${found.join(', ')}`);
        }
        return version;
      },
    },
  ],
};
