{{/* What a schema cannot know: every combination that would deploy and then not work, each in one sentence. */}}
{{- define "worker-fleet.validate" -}}
{{- $root := . -}}
{{- $values := .Values -}}
{{- $manifest := include "worker-fleet.manifest" . | fromJson -}}
{{- $problems := list -}}
{{- $taken := list -}}

{{- /* The same name behind a registry or a mirror is the same image. */ -}}
{{- if and $values.image.repository (not (hasSuffix (printf "/%s" $manifest.imageRepository) (printf "/%s" $values.image.repository))) -}}
{{- $problems = append $problems (printf "image.repository is %q, but the manifest of queues was made for %q: run `fleet queues --manifest --image-repository %s` in that image and give its output with --set-file queuesManifest=FILE." $values.image.repository $manifest.imageRepository $values.image.repository) -}}
{{- end -}}

{{- range $slug := keys $values.queues | sortAlpha -}}
{{- if not (hasKey $manifest.queues $slug) -}}
{{- $problems = append $problems (printf "queues.%s: the image has no such queue; its queues are %s." $slug (keys $manifest.queues | sortAlpha | join ", " | default "none")) -}}
{{- end -}}
{{- end -}}

{{- $problems = concat $problems (include "worker-fleet.leaving" . | fromJsonArray) -}}

{{- range $slug, $pool := include "worker-fleet.merged" . | fromJson -}}
{{- if gt (int $pool.minReplicas) (int $pool.maxReplicas) -}}
{{- $problems = append $problems (printf "queues.%s: minReplicas (%d) is above maxReplicas (%d)." $slug (int $pool.minReplicas) (int $pool.maxReplicas)) -}}
{{- end -}}
{{- range $other := $pool.wakeWith -}}
{{- if not (hasKey $manifest.queues $other) -}}
{{- $problems = append $problems (printf "queues.%s: wakeWith names %s, and the image has no such queue; its queues are %s." $slug $other (keys $manifest.queues | sortAlpha | join ", ")) -}}
{{- else if eq $other $slug -}}
{{- $problems = append $problems (printf "queues.%s: wakeWith names the queue itself, with which it wakes anyway: leave it out." $slug) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "drainSeconds" "slots" "taskTypes" -}}
{{- if not (get $pool $key) -}}
{{- $problems = append $problems (printf "queues.%s: the manifest does not say %s; print it anew with `fleet queues --manifest`." $slug $key) -}}
{{- end -}}
{{- end -}}
{{- /* What the code promises of a drain, see `fleet describe`; a worker would refuse to start for the same reason. */ -}}
{{- if and $pool.finishSeconds (lt (float64 $pool.drainSeconds) (float64 $pool.finishSeconds)) -}}
{{- $problems = append $problems (printf "queues.%s: drainSeconds (%v) is below %v, which its on_drain=\"finish\" activities need." $slug $pool.drainSeconds $pool.finishSeconds) -}}
{{- end -}}
{{- if and $pool.heartbeatSeconds (le (float64 $pool.drainSeconds) (float64 $pool.heartbeatSeconds)) -}}
{{- $problems = append $problems (printf "queues.%s: drainSeconds (%v) is not above %v, the heartbeat_timeout of its on_drain=\"hand_over\" activities." $slug $pool.drainSeconds $pool.heartbeatSeconds) -}}
{{- end -}}
{{- if or (eq $slug "fleet-operator") (eq $slug "fleet-api") -}}
{{- $problems = append $problems (printf "queues.%s: its Deployment would have the name of one of the chart's own; call the queue something else." $slug) -}}
{{- end -}}
{{- $taken = concat $taken (include "worker-fleet.taken" (list (include "worker-fleet.workerEnv" (list $root $pool)) (concat $values.env $pool.env)) | splitList " ") -}}
{{- end -}}

{{- $taken = concat $taken (include "worker-fleet.taken" (list (include "worker-fleet.operatorEnv" .) $values.env) | splitList " ") -}}
{{- $taken = concat $taken (include "worker-fleet.taken" (list (include "worker-fleet.apiEnv" .) (concat $values.env $values.api.env)) | splitList " ") -}}
{{- range without $taken "" | uniq -}}
{{- $problems = append $problems (printf "env may not set %s: the chart does, from a value of its own (see values.yaml)." .) -}}
{{- end -}}

{{- if not $values.temporal.address -}}
{{- $problems = append $problems "temporal.address is empty: name the frontend of Temporal as host:port, e.g. --set temporal.address=temporal-frontend.temporal:7233." -}}
{{- end -}}
{{- with $values.temporal.tls -}}
{{- if ne (empty .certificate) (empty .key) -}}
{{- $problems = append $problems "temporal.tls.certificate and temporal.tls.key belong together: name both keys of the Secret, or empty both." -}}
{{- end -}}
{{- if and .existingSecret (not .authority) (not .certificate) -}}
{{- $problems = append $problems "temporal.tls.existingSecret is set, and no key of it is used: name authority, or certificate and key." -}}
{{- end -}}
{{- end -}}
{{- if hasKey $values.config "config" -}}
{{- $problems = append $problems "config.config: here is no room for the wrapper of a classic file: set what stands below it as config itself." -}}
{{- end -}}
{{- $temporal := ternary ($values.config).temporal dict (kindIs "map" ($values.config).temporal) -}}
{{- /* In a classic file the section itself is true or false. */ -}}
{{- $path := "config.temporal.tls" -}}
{{- $spoken := get $temporal "tls" -}}
{{- if kindIs "map" $spoken -}}
{{- $path = "config.temporal.tls.enabled" -}}
{{- $spoken = get $spoken "enabled" -}}
{{- end -}}
{{- if and $values.temporal.tls.existingSecret (has (toString $spoken | lower) (list "false" "off" "no" "f" "n" "0")) -}}
{{- $problems = append $problems (printf "%s is false, and temporal.tls.existingSecret names certificates: leave one out." $path) -}}
{{- end -}}

{{- if and $values.ledger.url $values.ledger.existingSecret.name -}}
{{- $problems = append $problems "ledger.url and ledger.existingSecret.name exclude each other: keep one." -}}
{{- end -}}
{{- $example := and (not $values.queuesManifest) (or (hasKey $manifest.queues "orders") (hasKey $manifest.queues "payments")) -}}
{{- if and $example (not $values.ledger.url) (not $values.ledger.existingSecret.name) -}}
{{- $problems = append $problems "The example's queues share a ledger: set ledger.existingSecret.name to a Secret with an SQLAlchemy URL under the key `url` (or ledger.url)." -}}
{{- end -}}

{{- $readable := dict "temporal.api_key" "temporal.apiKey" "temporal.tls.client_key_data" "temporal.tls" -}}
{{- with get $temporal "grpc_metadata" -}}
{{- range $header, $_ := ternary . dict (kindIs "map" .) -}}
{{- if eq (lower $header) "authorization" -}}
{{- $_ := set $readable (printf "temporal.grpc_metadata.%s" $header) "temporal.apiKey" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $sentence, $paths := dict
  "config.%s would have no effect: %s." (include "worker-fleet.elsewhere" . | fromYaml)
  "config.%s would be readable in a ConfigMap: put it into a Secret, and name that in %s.existingSecret." $readable
-}}
{{- range $path, $instead := $paths -}}
{{- $node := $values.config -}}
{{- range $step := splitList "." $path -}}
{{- $node = ternary (get (ternary $node dict (kindIs "map" $node)) $step) "" (kindIs "map" $node) -}}
{{- end -}}
{{- if $node -}}
{{- $problems = append $problems (printf $sentence $path $instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $queue, $section := ($values.config).queues -}}
{{- $worker := ($section).worker | default dict -}}
{{- range $key, $instead := dict "drain_timeout_s" "drainSeconds" "drain_timeout" "drainSeconds" "termination_grace_s" "drainSeconds" "max_concurrent_activities" "slots" -}}
{{- if hasKey $worker $key -}}
{{- $problems = append $problems (printf "config.queues.%s.worker.%s would contradict the pods: set %s of that queue under `queues` instead." $queue $key $instead) -}}
{{- end -}}
{{- end -}}
{{- if ($section).scaling -}}
{{- $problems = append $problems (printf "config.queues.%s.scaling would have no effect: set it for that queue under `queues` instead." $queue) -}}
{{- end -}}
{{- end -}}

{{- if $problems -}}
{{- fail (join "\n" $problems) -}}
{{- end -}}
{{- end -}}

{{/*
(a container's own variables as YAML, the user's for it): the names that are in both. One that names a file is there as
the text of that file too: the process refuses both together.
*/}}
{{- define "worker-fleet.taken" -}}
{{- $own := dict -}}
{{- range index . 0 | fromYamlArray -}}
{{- $_ := set $own .name true -}}
{{- if hasSuffix "_FILE" .name -}}
{{- $_ := set $own (trimSuffix "_FILE" .name) true -}}
{{- $_ := set $own (printf "%s_DATA" (trimSuffix "_FILE" .name)) true -}}
{{- end -}}
{{- end -}}
{{- range index . 1 -}}
{{- if and (hasKey $own .name) (not (has .name (list "OTEL_RESOURCE_ATTRIBUTES" "MALLOC_TRIM_THRESHOLD_"))) -}}
{{- .name }} {{ end -}}
{{- end -}}
{{- end -}}

{{/* Settings of config.yaml that the chart decides: what to do instead. */}}
{{- define "worker-fleet.elsewhere" -}}
temporal.address: set temporal.address
temporal.url: set temporal.address
temporal.namespace: set temporal.namespace
{{- if .Values.temporal.tls.existingSecret }}
temporal.tls.server_ca_file: set temporal.tls
temporal.tls.client_cert_file: set temporal.tls
temporal.tls.client_key_file: set temporal.tls
{{- if .Values.temporal.tls.authority }}
temporal.tls.server_ca_data: set temporal.tls
{{- end }}
{{- if .Values.temporal.tls.certificate }}
temporal.tls.client_cert_data: set temporal.tls
{{- end }}
{{- end }}
{{- if .Values.temporal.apiKey.existingSecret }}
temporal.api_key_file: set temporal.apiKey
{{- end }}
temporal.worker.drain_timeout_s: set workerDefaults.drainSeconds
temporal.worker.drain_timeout: set workerDefaults.drainSeconds
temporal.worker.termination_grace_s: set workerDefaults.drainSeconds, of which it is computed
temporal.worker.max_concurrent_activities: set workerDefaults.slots
temporal.worker.build_id: set image.tag
temporal.worker.worker_build_id: set image.tag
temporal.worker.health_host: the probes need it as it is
temporal.worker.health_port: the probes need it as it is
scaling: set workerDefaults
ledger.url: set ledger.url
operator: set operator
api.host: the Service needs it as it is
api.port: the Service needs it as it is
{{- end -}}
