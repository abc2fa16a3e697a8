{{/* Names and labels. A queue's slug holds no "--" and at most 40 characters; "fleet-..." is the chart's own. */}}

{{/* (release, part): release-part, cut to 63 characters with a hash of what it was. */}}
{{- define "worker-fleet.name" -}}
{{- $name := printf "%s-%s" (index . 0) (index . 1) -}}
{{- if gt (len $name) 63 -}}
{{- $name = printf "%s-%s" (trunc 54 $name | trimSuffix "-") (sha256sum $name | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* (root, component, slug or ""): what Deployments and budgets select by. Immutable: nothing may ever join it. */}}
{{- define "worker-fleet.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- with index . 2 }}
workerfleet.dev/pool: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* (root, component, slug or ""): labels of objects and pods. */}}
{{- define "worker-fleet.labels" -}}
{{ include "worker-fleet.selector" . }}
app.kubernetes.io/version: {{ include "worker-fleet.version" (index . 0) | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
{{- end -}}

{{/*
(root, slug, pool): labels of a pool's Deployment and WorkerPool. Not of its pods: to retire a queue must roll nothing.
*/}}
{{- define "worker-fleet.poolLabels" -}}
{{ include "worker-fleet.labels" (list (index . 0) "worker" (index . 1)) }}
{{- if (index . 2).retired }}
workerfleet.dev/retired: "true"
{{- end }}
{{- end -}}

{{/* The image's tag, or the head of its digest, as a label can hold it. */}}
{{- define "worker-fleet.version" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- trimPrefix "sha256:" $image.digest | trunc 12 -}}
{{- else -}}
{{- $image.tag | default .Chart.AppVersion | trunc 63 | trimAll "-_." -}}
{{- end -}}
{{- end -}}

{{/* (root, image values): the reference; a digest wins over a tag. */}}
{{- define "worker-fleet.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $repository := $image.repository | default (include "worker-fleet.manifest" $root | fromJson).imageRepository -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
