/** Field numbers of the kinds that clients send as protobuf. */

export interface FieldKind {
  name: string;
  kind: string;
  /** `pointer`: a zero is meant. `skip`: the server fills it, what is sent does not matter. */
  form: 'plain' | 'pointer' | 'list' | 'map' | 'skip';
}

/**
 * One field per word: `number:name:kind`, kind `string` where left out. Prefixes of the kind: `*` pointer, `+` list,
 * `%` map from text, `-` skipped.
 */
function fieldsOf(text: string): Record<number, FieldKind> {
  const forms = { '*': 'pointer', '+': 'list', '%': 'map', '-': 'skip' } as const;
  return Object.fromEntries(
    text
      .trim()
      .split(/\s+/)
      .map((word) => {
        const [number, name, kind = 'string'] = word.split(':');
        const form = forms[kind[0] as keyof typeof forms];
        return [Number(number), { name: name!, kind: form ? kind.slice(1) || 'string' : kind, form: form ?? 'plain' }];
      }),
  );
}

const object = '1:metadata:ObjectMeta 2:spec';
const texts: Record<string, string> = {
  TypeMeta: '1:apiVersion 2:kind',
  ObjectMeta:
    '1:name 2:generateName 3:namespace 4:selfLink:- 5:uid 6:resourceVersion 7:generation:- 8:creationTimestamp:- 9:deletionTimestamp:- 10:deletionGracePeriodSeconds:- 11:labels:% 12:annotations:% 13:ownerReferences:+OwnerReference 14:finalizers:+ 17:managedFields:-',
  OwnerReference: '1:kind 3:name 4:uid 5:apiVersion 6:controller:*bool 7:blockOwnerDeletion:*bool',
  Namespace: '1:metadata:ObjectMeta 2:spec:- 3:status:-',
  ConfigMap: '1:metadata:ObjectMeta 2:data:% 3:binaryData:%bytes 4:immutable:*bool',
  Secret: '1:metadata:ObjectMeta 2:data:%bytes 3:type 4:stringData:% 5:immutable:*bool',
  ServiceAccount:
    '1:metadata:ObjectMeta 2:secrets:+Reference 3:imagePullSecrets:+LocalReference 4:automountServiceAccountToken:*bool',
  Reference: '1:kind 2:namespace 3:name 4:uid 5:apiVersion 6:resourceVersion 7:fieldPath',
  LocalReference: '1:name',
  Service: `${object}:ServiceSpec 3:status:-`,
  ServiceSpec:
    '1:ports:+ServicePort 2:selector:% 3:clusterIP 4:type 5:externalIPs:+ 7:sessionAffinity 8:loadBalancerIP 10:externalName',
  ServicePort: '1:name 2:protocol 3:port:int 4:targetPort:intOrString 5:nodePort:int 6:appProtocol:*',
  Pod: `${object}:PodSpec 3:status:-`,
  PodTemplate: `${object}:PodSpec`,
  PodSpec:
    '2:containers:+Container 3:restartPolicy 4:terminationGracePeriodSeconds:*int 5:activeDeadlineSeconds:*int 6:dnsPolicy 7:nodeSelector:% 8:serviceAccountName 9:serviceAccount 10:nodeName 11:hostNetwork:bool 12:hostPID:bool 13:hostIPC:bool 15:imagePullSecrets:+LocalReference 16:hostname 17:subdomain 19:schedulerName 20:initContainers:+Container 21:automountServiceAccountToken:*bool',
  Container:
    '1:name 2:image 3:command:+ 4:args:+ 5:workingDir 6:ports:+ContainerPort 7:env:+EnvVar 8:resources:Resources 13:terminationMessagePath 14:imagePullPolicy 16:stdin:bool 17:stdinOnce:bool 18:tty:bool 20:terminationMessagePolicy',
  ContainerPort: '1:name 2:hostPort:int 3:containerPort:int 4:protocol 5:hostIP',
  EnvVar: '1:name 2:value',
  Resources: '1:limits:%quantity 2:requests:%quantity',
  LabelSelector: '1:matchLabels:% 2:matchExpressions:+Requirement',
  Requirement: '1:key 2:operator 3:values:+',
  Deployment: `${object}:DeploymentSpec 3:status:-`,
  DeploymentSpec:
    '1:replicas:*int 2:selector:LabelSelector 3:template:PodTemplate 4:strategy:Strategy 5:minReadySeconds:int 6:revisionHistoryLimit:*int 7:paused:bool 9:progressDeadlineSeconds:*int',
  Strategy: '1:type 2:rollingUpdate:RollingUpdate',
  RollingUpdate: '1:maxUnavailable:*intOrString 2:maxSurge:*intOrString',
  Job: `${object}:JobSpec 3:status:-`,
  JobSpec:
    '1:parallelism:*int 2:completions:*int 3:activeDeadlineSeconds:*int 4:selector:LabelSelector 5:manualSelector:*bool 6:template:PodTemplate 7:backoffLimit:*int 8:ttlSecondsAfterFinished:*int',
  CronJob: `${object}:CronJobSpec 3:status:-`,
  CronJobSpec:
    '1:schedule 2:startingDeadlineSeconds:*int 3:concurrencyPolicy 4:suspend:*bool 5:jobTemplate:JobTemplate 6:successfulJobsHistoryLimit:*int 7:failedJobsHistoryLimit:*int',
  JobTemplate: `${object}:JobSpec`,
  PodDisruptionBudget: `${object}:PodDisruptionBudgetSpec 3:status:-`,
  PodDisruptionBudgetSpec: '1:minAvailable:*intOrString 2:selector:LabelSelector 3:maxUnavailable:*intOrString',
  Role: '1:metadata:ObjectMeta 2:rules:+Rule',
  ClusterRole: '1:metadata:ObjectMeta 2:rules:+Rule',
  Rule: '1:verbs:+ 2:apiGroups:+ 3:resources:+ 4:resourceNames:+ 5:nonResourceURLs:+',
  RoleBinding: '1:metadata:ObjectMeta 2:subjects:+Subject 3:roleRef:RoleRef',
  ClusterRoleBinding: '1:metadata:ObjectMeta 2:subjects:+Subject 3:roleRef:RoleRef',
  Subject: '1:kind 2:apiGroup 3:name 4:namespace',
  RoleRef: '1:apiGroup 2:kind 3:name',
  TokenRequest: `${object}:TokenRequestSpec 3:status:-`,
  TokenRequestSpec: '1:audiences:+ 3:boundObjectRef:BoundObject 4:expirationSeconds:*int',
  BoundObject: '1:kind 2:apiVersion 3:name 4:uid',
  TokenReview: `${object}:TokenReviewSpec 3:status:-`,
  TokenReviewSpec: '1:token 2:audiences:+',
  SelfSubjectReview: '1:metadata:ObjectMeta 2:status:-',
  SelfSubjectRulesReview: `${object}:RulesReviewSpec 3:status:-`,
  RulesReviewSpec: '1:namespace',
  SelfSubjectAccessReview: `${object}:AccessReviewSpec 3:status:-`,
  SubjectAccessReview: `${object}:AccessReviewSpec 3:status:-`,
  AccessReviewSpec: '1:resourceAttributes:ResourceAttributes 2:nonResourceAttributes:PathAttributes 3:user 4:groups:+',
  ResourceAttributes: '1:namespace 2:verb 3:group 4:version 5:resource 6:subresource 7:name',
  PathAttributes: '1:path 2:verb',
  Eviction: '1:metadata:ObjectMeta 2:deleteOptions:DeleteOptions',
  DeleteOptions:
    '1:gracePeriodSeconds:*int 2:preconditions:Preconditions 3:orphanDependents:*bool 4:propagationPolicy:* 5:dryRun:+',
  Preconditions: '1:uid:* 2:resourceVersion:*',
};

/** Message name → field number → field. */
export const messages: Record<string, Record<number, FieldKind>> = Object.fromEntries(
  Object.entries(texts).map(([name, text]) => [name, fieldsOf(text)]),
);
