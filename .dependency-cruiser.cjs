/** The arrows of ARCHITECTURE.md: which part may import which. `npm run arrows` checks them, and that a forbidden one is found. */
const part = (name, allowed, comment) => ({
  name: `${name}-imports`,
  comment,
  severity: 'error',
  from: { path: `^${name}/`, pathNot: '\\.test\\.ts$' },
  to: {
    path: '^(bin|cli|cni|proxy|control|image|inject|protocol|kube|local|load|templates|web|bench|examples|test|scripts)/',
    pathNot: `^(${[name, ...allowed].join('|')})/`,
  },
});

module.exports = {
  forbidden: [
    part('protocol', [], 'values and messages only: imports nothing'),
    part('proxy', ['protocol'], 'the data plane stands alone'),
    part('inject', ['protocol'], 'a pure function'),
    part('image', ['protocol'], 'packs what the build made'),
    part('load', ['protocol'], 'runs alone in a pod'),
    part('kube', ['protocol'], 'the client knows nothing of the mesh'),
    part('templates', ['protocol', 'kube'], 'typed objects'),
    part('cni', ['kube', 'protocol', 'proxy/net'], 'writes the rules that the init step writes'),
    part(
      'control',
      ['kube', 'inject', 'protocol', 'proxy/net', 'proxy/process', 'proxy/http2'],
      'runs the same on every cluster; speaks HTTP/2 and gives back memory as the proxy does',
    ),
    part(
      'local',
      ['kube', 'protocol', 'proxy/net'],
      'a cluster in small; reads original destinations as the proxy does',
    ),
    part('cli', ['kube', 'inject', 'templates', 'local', 'load', 'protocol'], 'speaks to the rest through the API'),
    part('examples', [], 'applications know nothing of the mesh'),
    {
      name: 'opentelemetry-in-its-thread',
      comment: 'megabytes that only the thread that exports spans may load',
      severity: 'error',
      from: { pathNot: '^(proxy/tracing/(export-thread|otel-spans)(\\.test)?\\.ts$|node_modules/)' },
      to: { path: 'node_modules/@opentelemetry/' },
    },
    {
      name: 'no-circles',
      severity: 'error',
      from: { pathNot: 'node_modules' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    { name: 'no-missing', severity: 'error', from: {}, to: { couldNotResolve: true, pathNot: '^ffi$' } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(node_modules|dist)/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    detectProcessBuiltinModuleCalls: true,
    enhancedResolveOptions: { extensions: ['.ts', '.js', '.json'] },
  },
};
