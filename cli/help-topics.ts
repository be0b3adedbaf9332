/** Help that belongs to no one command. */
export const topics: Record<string, string> = {
  'exit-codes': `Exit codes

  0    ok
  1    failure
  2    the command line was used wrongly
  3    checks failed (mesh check)
  4    cluster unreachable or not authorised
  5    timed out waiting
  130  interrupted (Ctrl-C)
`,
  environment: `Environment

A flag wins over the environment, the environment over the default.

  KUBECONFIG             kubeconfig files, separated by colons
  MESH_KUBECONFIG        as --kubeconfig
  MESH_CONTEXT           as --context
  MESH_NAMESPACE         as --namespace
  MESH_REQUEST_TIMEOUT   as --request-timeout
  MESH_HOME              folder of the local mesh
  XDG_DATA_HOME          without MESH_HOME and root: its state is in mesh/ there
  XDG_RUNTIME_DIR        without MESH_HOME and root: its running parts are in mesh/ there
  MESH_NODE              Node binary that runs the command line
  NO_COLOR               no colour where set
  FORCE_COLOR            colour also where the output is no terminal
  CLICOLOR_FORCE         the same
  TERM                   "dumb" means no colour, no spinner
  LC_ALL, LC_CTYPE, LANG marks in ASCII where the first that is set does not name UTF-8
  CI                     one line per step in place of a spinner
`,
  formatting: `Formatting

Results go to stdout, everything else to stderr.

  -o table   columns, one line per object (default)
  -o wide    more columns
  -o short   the least that says it
  -o json    stable keys; raw numbers with the unit in the key; times in RFC 3339
  -o yaml    the same as YAML
  -o name    TYPE/NAME, one a line

A table has its header in a pipe too, and no cell has a space in it. Colour and spinners are for
terminals only.

With -o json an error is one JSON object on stderr: {"error":{"code","message","hint","docs"}}.
`,
};
