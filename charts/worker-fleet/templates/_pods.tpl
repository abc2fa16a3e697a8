{{/* What all pods share: Pod Security "restricted", no token, the configuration, variables that never come twice. */}}

{{/*
shareProcessNamespace: PID 1 is the pause then, so a SIGTERM that comes before Python has a handler ends the process;
as PID 1 itself Python would never see it, serve on and be killed.
*/}}
{{- define "worker-fleet.pod" -}}
enableServiceLinks: false
shareProcessNamespace: true
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* (root, /tmp's size limit) */}}
{{- define "worker-fleet.volumes" -}}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: {{ index . 1 }}}
{{- if (index . 0).Values.config }}
  - name: config
    configMap: {name: {{ include "worker-fleet.name" (list (index . 0).Release.Name "fleet-config") }}}
{{- end }}
{{- range include "worker-fleet.secrets" (index . 0) | fromJsonArray }}
  - name: {{ .name }}
    # Readable for our user, who is neither root nor of its group.
    secret: {secretName: {{ .secretName | quote }}, defaultMode: 0444, items: {{ toJson .items }}}
{{- end }}
{{- end -}}

{{- define "worker-fleet.container" -}}
# `kubectl describe pod` says why a process would not start.
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- if .Values.config }}
  - {name: config, mountPath: /etc/worker-fleet, readOnly: true}
{{- end }}
{{- range include "worker-fleet.secrets" . | fromJsonArray }}
  # A folder and not a subPath: the kubelet never writes a renewed Secret to a file that is mounted alone.
  - {name: {{ .name }}, mountPath: /var/run/secrets/{{ .name }}, readOnly: true}
{{- end }}
{{- end -}}

{{/* The Secrets that are mounted, as JSON: [{name, secretName, items, env: the variables that name their files}]. */}}
{{- define "worker-fleet.secrets" -}}
{{- $tls := .Values.temporal.tls -}}
{{- $apiKey := .Values.temporal.apiKey -}}
{{- $secrets := list -}}
{{- range $secret := list
  (dict "name" "temporal-tls" "secretName" $tls.existingSecret "files" (list
    (dict "key" $tls.authority "path" "ca.crt" "variable" "FLEET_TEMPORAL__TLS__SERVER_CA_FILE")
    (dict "key" $tls.certificate "path" "tls.crt" "variable" "FLEET_TEMPORAL__TLS__CLIENT_CERT_FILE")
    (dict "key" $tls.key "path" "tls.key" "variable" "FLEET_TEMPORAL__TLS__CLIENT_KEY_FILE")))
  (dict "name" "temporal-api-key" "secretName" $apiKey.existingSecret "files" (list
    (dict "key" $apiKey.key "path" "api-key" "variable" "FLEET_TEMPORAL__API_KEY_FILE")))
-}}
{{- if .secretName -}}
{{- $items := list -}}
{{- $files := list -}}
{{- range .files -}}
{{- if .key -}}
{{- $items = append $items (pick . "key" "path") -}}
{{- $files = append $files (dict "name" .variable "value" (printf "/var/run/secrets/%s/%s" $secret.name .path)) -}}
{{- end -}}
{{- end -}}
{{- $secrets = append $secrets (dict "name" .name "secretName" .secretName "items" $items "env" $files) -}}
{{- end -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end -}}

{{/* Annotations of pods: a changed configuration rolls them. */}}
{{- define "worker-fleet.annotations" -}}
checksum/config: {{ toJson .Values.config | sha256sum }}
{{- end -}}

{{/* Variables of every container, as YAML. $(X) is Kubernetes' own: what it names must stand before it. */}}
{{- define "worker-fleet.commonEnv" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ list
      (printf "service.namespace=%s" .Release.Name)
      (printf "service.version=%s" (include "worker-fleet.version" .))
      "service.instance.id=$(POD_NAME)"
      "k8s.namespace.name=$(POD_NAMESPACE)"
      "k8s.pod.name=$(POD_NAME)"
      "k8s.pod.uid=$(POD_UID)"
      "k8s.node.name=$(NODE_NAME)" | join "," | quote }}
{{- if .Values.config }}
- name: FLEET_CONFIG
  # Laid over the image's own, which is the empty name before the colon.
  value: ":/etc/worker-fleet/config.yaml"
{{- end }}
- name: FLEET_TEMPORAL__ADDRESS
  value: {{ .Values.temporal.address | quote }}
- name: FLEET_TEMPORAL__NAMESPACE
  value: {{ .Values.temporal.namespace | quote }}
{{- range include "worker-fleet.secrets" . | fromJsonArray }}
{{- with .env }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
(root, pool): variables of a worker. They win over config.yaml; FLEET_QUEUES is there because a queue's own section in it
would win over the variables of all queues, and the grace period would not fit.
*/}}
{{- define "worker-fleet.workerEnv" -}}
{{- $root := index . 0 -}}
{{- $pool := index . 1 -}}
{{ include "worker-fleet.commonEnv" $root }}
- name: FLEET_TEMPORAL__WORKER__DRAIN_TIMEOUT_S
  value: {{ $pool.drainSeconds | toString | quote }}
- name: FLEET_TEMPORAL__WORKER__UNWIND_TIMEOUT_S
  value: {{ include "worker-fleet.bound" (list $root $pool "unwind") | quote }}
- name: FLEET_TEMPORAL__WORKER__FLUSH_TIMEOUT_S
  value: {{ include "worker-fleet.bound" (list $root $pool "flush") | quote }}
- name: FLEET_TEMPORAL__WORKER__TERMINATION_GRACE_S
  value: {{ include "worker-fleet.grace" (list $root $pool) | quote }}
- name: FLEET_TEMPORAL__WORKER__MAX_CONCURRENT_ACTIVITIES
  value: {{ $pool.slots | int | quote }}
- name: FLEET_QUEUES
  {{- $own := dict "drain_timeout_s" $pool.drainSeconds "max_concurrent_activities" (int $pool.slots) }}
  value: {{ dict $pool.taskQueue (dict "worker" $own) | toJson | replace "$(" "$$(" | quote }}
- name: FLEET_TEMPORAL__WORKER__HEALTH_HOST
  value: 0.0.0.0
- name: FLEET_TEMPORAL__WORKER__HEALTH_PORT
  value: "8080"
- name: FLEET_TEMPORAL__WORKER__BUILD_ID
  value: {{ $root.Values.image.digest | default $root.Values.image.tag | default $root.Chart.AppVersion | quote }}
{{- with (include "worker-fleet.manifest" $root | fromJson).digest }}
- name: FLEET_TEMPORAL__WORKER__MANIFEST_DIGEST
  value: {{ . | quote }}
{{- end }}
{{- with $root.Values.ledger.url }}
- name: FLEET_LEDGER__URL
  value: {{ . | quote }}
{{- end }}
{{- with $root.Values.ledger.existingSecret }}
{{- if .name }}
- name: FLEET_LEDGER__URL
  valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .key | quote }}}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "worker-fleet.operatorEnv" -}}
{{ include "worker-fleet.commonEnv" . }}
- name: FLEET_OPERATOR__RELEASE
  value: {{ .Release.Name | quote }}
- name: FLEET_OPERATOR__POLL_S
  value: {{ .Values.operator.pollSeconds | toString | quote }}
- name: FLEET_OPERATOR__HEALTH_HOST
  value: 0.0.0.0
- name: FLEET_OPERATOR__HEALTH_PORT
  value: "8080"
{{- /* glibc raises it by itself with the first large list, and then keeps what the next ones free. */}}
- name: MALLOC_TRIM_THRESHOLD_
  value: "131072"
{{- end -}}

{{- define "worker-fleet.apiEnv" -}}
{{ include "worker-fleet.commonEnv" . }}
- name: FLEET_API__HOST
  value: 0.0.0.0
- name: FLEET_API__PORT
  value: "8000"
- name: FLEET_API__SHUTDOWN_DELAY_S
  value: {{ include "worker-fleet.apiDelay" . | quote }}
{{- end -}}

{{/*
Seconds that the API serves on after SIGTERM: config.api.shutdown_delay_s, else 5, as endpoints are gone everywhere a
second or two after the pod was told to end.
*/}}
{{- define "worker-fleet.apiDelay" -}}
{{- $api := get .Values.config "api" -}}
{{- if and (kindIs "map" $api) (hasKey $api "shutdown_delay_s") -}}
{{- get $api "shutdown_delay_s" -}}
{{- else -}}
5
{{- end -}}
{{- end -}}

{{/*
(a container's own variables as YAML, list of the user's, ...) -> one list as YAML: each name once, at its first place,
with its last value. Twice the same name fails an upgrade under Helm 4 (server-side apply).
*/}}
{{- define "worker-fleet.env" -}}
{{- $all := first . | fromYamlArray -}}
{{- range rest . -}}
{{- $all = concat $all . -}}
{{- end -}}
{{- $last := dict -}}
{{- range $all -}}
{{- $_ := set $last .name . -}}
{{- end -}}
{{- $env := list -}}
{{- range $all -}}
{{- if hasKey $last .name -}}
{{- $env = append $env (get $last .name) -}}
{{- $_ := unset $last .name -}}
{{- end -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}
