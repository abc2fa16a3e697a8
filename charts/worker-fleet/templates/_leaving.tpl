{{/*
Problems, as JSON, with queues that the release has and the manifest lacks: helm would delete their workers, and whatever
is open on them would wait for ever. The cluster itself is asked, as values only say what shall be; `helm template` and
--dry-run=client see no cluster, so nothing is checked there.
*/}}
{{- define "worker-fleet.leaving" -}}
{{- $queues := (include "worker-fleet.manifest" . | fromJson).queues -}}
{{- $problems := list -}}
{{- range $slug := .Values.dropQueues -}}
{{- if hasKey $queues $slug -}}
{{- $problems = append $problems (printf "dropQueues: the manifest still has %s; take it off that list." $slug) -}}
{{- end -}}
{{- end -}}
{{- range get (lookup "apps/v1" "Deployment" .Release.Namespace "") "items" | default list -}}
{{- $labels := .metadata.labels | default dict -}}
{{- $slug := get $labels "workerfleet.dev/pool" -}}
{{- $ours := and $slug (eq (get $labels "app.kubernetes.io/name") $.Chart.Name) (eq (get $labels "app.kubernetes.io/instance") $.Release.Name) -}}
{{- if and $ours (not (hasKey $queues $slug)) (not (has $slug $.Values.dropQueues)) (ne (get $labels "workerfleet.dev/retired") "true") -}}
{{- $problems = append $problems (printf "queues.%s: the manifest leaves it out, but this release has workers of it that were not retired, and what is open on it would wait for ever: upgrade first to an image that still has it with queues.%s.retired=true; or, knowing that nothing is open, --set dropQueues={%s}." $slug $slug $slug) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
