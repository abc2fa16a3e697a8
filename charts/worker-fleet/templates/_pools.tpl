{{/*
The pools: for each queue of the manifest, workerDefaults under what the manifest says under what `queues` says.
workerDefaults name drain, slots and long activities only where the user does: then they win over the manifest.
*/}}

{{/* The manifest as JSON: the user's, else the chart's. */}}
{{- define "worker-fleet.manifest" -}}
{{- $manifest := .Values.queuesManifest | default (.Files.Get "files/queues.yaml") | fromYaml -}}
{{- $queues := get $manifest "queues" -}}
{{- if not (and $queues (kindIs "map" $queues) (kindIs "string" (get $manifest "imageRepository"))) -}}
{{- fail "queuesManifest is not a manifest of queues: give it what `fleet queues --manifest` printed, with --set-file queuesManifest=FILE." -}}
{{- end -}}
{{- range $slug, $queue := $queues -}}
{{- if not (and (regexMatch "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$" $slug) (kindIs "map" $queue) (kindIs "string" (get $queue "taskQueue"))) -}}
{{- fail (printf "queuesManifest: %q is not a queue as `fleet queues --manifest` prints them (a name of at most 40 characters that a label can hold, with its taskQueue)." $slug) -}}
{{- end -}}
{{- end -}}
{{- toJson $manifest -}}
{{- end -}}

{{/* The pools as JSON, by slug. Everything reads them here, so that nothing renders before all of it was checked. */}}
{{- define "worker-fleet.pools" -}}
{{- include "worker-fleet.validate" . -}}
{{- include "worker-fleet.merged" . -}}
{{- end -}}

{{- define "worker-fleet.merged" -}}
{{- $root := . -}}
{{- $pools := dict -}}
{{- range $slug, $queue := (include "worker-fleet.manifest" . | fromJson).queues -}}
{{- $own := get $root.Values.queues $slug | default dict -}}
{{- $pool := include "worker-fleet.overlay" (list $queue $root.Values.workerDefaults $own) | fromJson -}}
{{- $_ := set $pool "env" (concat ($root.Values.workerDefaults.env | default list) (get $own "env" | default list) | default list) -}}
{{- $_ := set $pool "envFrom" (concat ($root.Values.workerDefaults.envFrom | default list) (get $own "envFrom" | default list) | default list) -}}
{{- if and $pool.retired (not (hasKey $own "minReplicas")) -}}
{{- $_ := set $pool "minReplicas" 0 -}}
{{- end -}}
{{- $_ := set $pools $slug $pool -}}
{{- end -}}
{{- toJson $pools -}}
{{- end -}}

{{/* A list of maps, each laid over those before it, key by key. Unlike mergeOverwrite it lets 0 and false win. */}}
{{- define "worker-fleet.overlay" -}}
{{- $result := dict -}}
{{- range $layer := . -}}
{{- range $key, $value := $layer -}}
{{- $under := get $result $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $under) -}}
{{- $value = include "worker-fleet.overlay" (list $under $value) | fromJson -}}
{{- end -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $_ := set $result $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $result -}}
{{- end -}}

{{/*
(root, pool, name): the seconds to unwind or to flush, which enter the grace period: those of config.temporal.worker, else
those of the image's own file, which are in the manifest, else the model's defaults, for a manifest without them.
*/}}
{{- define "worker-fleet.bound" -}}
{{- $config := (index . 0).Values.config -}}
{{- $worker := (($config).temporal).worker | default dict -}}
{{- $own := get (index . 1) (printf "%sSeconds" (index . 2)) | default (get (dict "unwind" 5 "flush" 3) (index . 2)) -}}
{{- get $worker (printf "%s_timeout_s" (index . 2)) | default $own -}}
{{- end -}}

{{/*
(root, pool): terminationGracePeriodSeconds = drain + unwind + release + flush + slack; drain + 15 with the defaults.
release 4: handing back what is stuck; slack 3: the kubelet sends SIGTERM up to 1.4 s late and counts from the deletion.
*/}}
{{- define "worker-fleet.grace" -}}
{{- $unwind := include "worker-fleet.bound" (append . "unwind") | float64 -}}
{{- $flush := include "worker-fleet.bound" (append . "flush") | float64 -}}
{{- addf (index . 1).drainSeconds $unwind 4 $flush 3 | ceil | int64 -}}
{{- end -}}
