{{/* Labels of an object that Prometheus or Grafana find by labels: (list $ app labels), of which any takes precedence. */}}
{{- define "vultr.selectedLabels" -}}
{{- toYaml (mergeOverwrite (include "vultr.labels" (list (index . 0) (index . 1)) | fromYaml) (default dict (index . 2))) -}}
{{- end }}

{{/* Labels of an object: (list $ app), and further maps of labels after these. */}}
{{- define "vultr.labels" -}}
{{- $labels := dict "app" (index . 1) "app.kubernetes.io/name" (index . 1) "app.kubernetes.io/part-of" "cloud-provider-vultr" -}}
{{- range slice . 2 -}}
{{- $labels = merge $labels (default dict .) -}}
{{- end -}}
{{- toYaml (merge $labels (default dict (index . 0).Values.commonLabels)) -}}
{{- end }}

{{/* The image of a container: (list $ image). What begins with the name of a host has that in place of a registry. */}}
{{- define "vultr.image" -}}
{{- $image := index . 1 -}}
{{- $repository := $image.repository -}}
{{- with (index . 0).Values.imageRegistry -}}
{{- $parts := splitList "/" $repository -}}
{{- if and (gt (len $parts) 1) (regexMatch "[.:]|^localhost$" (first $parts)) -}}
{{- $parts = rest $parts -}}
{{- end -}}
{{- $repository = printf "%s/%s" . (join "/" $parts) -}}
{{- end -}}
{{- if $image.digest -}}
image: {{ $repository }}@{{ $image.digest }}
{{- else -}}
image: {{ $repository }}:{{ $image.tag | default (index . 0).Chart.AppVersion }}
{{- end }}
{{- with $image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* Where the pods of a part run, and how their images are pulled: (list $ part). */}}
{{- define "vultr.scheduling" -}}
{{- $part := index . 1 -}}
{{- with (index . 0).Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $field := list "priorityClassName" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" }}
{{- with get $part $field }}
{{ toYaml (dict $field .) }}
{{- end }}
{{- end }}
{{- end }}

{{/* What every container but the node plugin's is allowed. */}}
{{- define "vultr.restricted" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* What the pods run as that need not be root. */}}
{{- define "vultr.nonroot" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{/* Environment variables of the driver: (list $ part). */}}
{{- define "csi.env" -}}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- $own := list -}}
{{- range (index . 1).extraEnv -}}
{{- $own = append $own .name -}}
{{- end }}
{{- with (index . 0).Values.csi.tracing }}
{{- if and .enabled .endpoint (not (has "OTEL_EXPORTER_OTLP_ENDPOINT" $own)) }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ quote .endpoint }}
{{- end }}
{{- end }}
{{- with (index . 1).extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The DaemonSets with the node plugin: the settings of each by its name. The first one's affinity keeps it off the nodes of the others. */}}
{{- define "csi.nodes" -}}
{{- $nodes := dict "csi-vultr-node" .Values.csi.node -}}
{{- range $name, $changes := .Values.csi.additionalNodes -}}
{{- if not (kindIs "map" $changes) -}}{{- continue -}}{{- end -}}
{{- if not (or $changes.nodeSelector $changes.affinity) -}}
{{- fail (printf "csi.additionalNodes.%s needs a nodeSelector or an affinity: it would run on the nodes of the others" $name) -}}
{{- end -}}
{{- $node := mergeOverwrite (omit (deepCopy $.Values.csi.node) "affinity") $changes -}}
{{- /* No node can have both of two values of a label. */ -}}
{{- $apart := not (empty $.Values.csi.node.affinity) -}}
{{- range $label, $value := $.Values.csi.node.nodeSelector -}}
{{- if ne (get $node.nodeSelector $label) $value -}}
{{- $apart = true -}}
{{- end -}}
{{- end -}}
{{- if not $apart -}}
{{- fail (printf "csi.additionalNodes.%s: nothing keeps the first DaemonSet off its nodes, and two node plugins cannot run on one node: set csi.node.affinity, or nodeSelectors of which no node can meet both" $name) -}}
{{- end -}}
{{- $_ := set $nodes (printf "csi-vultr-node-%s" $name) $node -}}
{{- end -}}
{{- range $name, $node := $nodes -}}
{{- if lt (int $node.terminationGracePeriodSeconds) (int (add (int $node.preStopTimeoutSeconds) 60)) -}}
{{- fail (printf "%s: terminationGracePeriodSeconds has to be at least 60 more than preStopTimeoutSeconds: calls and checks of file systems end after that wait" $name) -}}
{{- end -}}
{{- if and $.Values.monitoring.expose (eq (int $node.healthPort) (int $node.metricsPort)) -}}
{{- fail (printf "%s: healthPort and metricsPort are both %d" $name (int $node.healthPort)) -}}
{{- end -}}
{{- range $node.extraArgs -}}
{{- if regexMatch "^--pre-stop-timeout(=|$)" . -}}
{{- fail (printf "%s: --pre-stop-timeout among extraArgs has no effect: set preStopTimeoutSeconds, for the hook's own command" $name) -}}
{{- else if regexMatch "^--(http|metrics)-endpoint(=|$)" . -}}
{{- fail (printf "%s: %s among extraArgs leaves probes and monitors at the former port: set healthPort or metricsPort" $name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $nodes -}}
{{- end }}

{{/* The TCP ports that the driver's controller may connect to, as a list in JSON: those of the values, and those to which other values
lead it, of the API, of a proxy before it and of the collector of traces. */}}
{{- define "csi.egressPorts" -}}
{{- $ports := list -}}
{{- range .Values.csi.controller.networkPolicy.egressPorts -}}
{{- $ports = append $ports (toString .) -}}
{{- end -}}
{{- $urls := list .Values.apiURL -}}
{{- range .Values.csi.controller.extraEnv -}}
{{- if has (lower .name) (list "http_proxy" "https_proxy" "api_url") -}}
{{- $urls = append $urls (default "" .value) -}}
{{- end -}}
{{- end -}}
{{- range compact $urls -}}
{{- $port := regexFind ":[0-9]+$" (regexReplaceAll "^([a-z0-9]+://)?([^/?#]*).*$" . "${2}") | trimPrefix ":" -}}
{{- $ports = append $ports (default (ternary "443" "80" (hasPrefix "https://" .)) $port) -}}
{{- end -}}
{{- with .Values.csi.tracing -}}
{{- $port := regexFind ":[0-9]+$" (default "" (urlParse .endpoint).host) | trimPrefix ":" -}}
{{- if and .enabled $port -}}
{{- $ports = append $ports $port -}}
{{- end -}}
{{- end -}}
{{- toJson (uniq $ports) -}}
{{- end }}

{{/* The last arguments of a sidecar: (list port settings). Why they are these says deploy/manifests/csi/controller.yaml. */}}
{{- define "csi.sidecarArgs" -}}
- --kube-api-qps=20
- --kube-api-burst=40
- --leader-election=true
- --leader-election-lease-duration=20s
- --leader-election-renew-deadline=12s
- --leader-election-retry-period=3s
- --http-endpoint=:{{ index . 0 }}
- --v={{ (index . 1).logLevel }}
{{- with (index . 1).extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What follows the arguments of a sidecar: (list name port settings). */}}
{{- define "csi.sidecar" -}}
{{- $probe := printf "httpGet: {port: %s, path: /healthz/leader-election}" (index . 0) -}}
ports:
  - name: {{ index . 0 }}
    containerPort: {{ index . 1 }}
startupProbe:
  {{ $probe }}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 1000000
livenessProbe:
  {{ $probe }}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 2
{{- with (index . 2).resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{ include "vultr.restricted" . }}
volumeMounts:
  - name: socket
    mountPath: /csi
  - name: account
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
{{- end }}

{{/* The names of the containers of a workload, as a list in JSON. */}}
{{- define "vultr.containers" -}}
{{- $names := list -}}
{{- range dig "spec" "template" "spec" "containers" list . -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- toJson $names -}}
{{- end }}

{{/* What is wrong with the parameters of a StorageClass, as a list in JSON: what the driver would refuse of each claim, while a class
cannot be changed once it exists. The values of each by itself are in the schema; a test compares all with the driver's own judgement. */}}
{{- define "csi.parameterFaults" -}}
{{- $p := . -}}
{{- $faults := list -}}
{{- range $key, $range := dict "read_ahead_kb" (list 0 65536) "mkfs_bytes_per_inode" (list 1024 67108864) -}}
{{- with get $p $key -}}
{{- $n := atoi . -}}
{{- if or (ne (toString $n) .) (lt $n (index $range 0)) (gt $n (index $range 1)) -}}
{{- $faults = append $faults (printf "%s: %q is not a whole number from %d to %d" $key . (index $range 0) (index $range 1)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $disk := get $p "disk_type" -}}
{{- with get $p "block_type" -}}
{{- $meant := get (dict "high_perf" "nvme" "storage_opt" "hdd") . -}}
{{- if and $disk (ne $disk $meant) -}}
{{- $faults = append $faults "disk_type and block_type contradict each other: disk_type is enough" -}}
{{- end -}}
{{- $disk = $meant -}}
{{- end -}}
{{- $fs := get $p "csi.storage.k8s.io/fstype" -}}
{{- range $key, $value := $p -}}
{{- if eq (lower $key) "fstype" -}}
{{- if and $fs (ne $fs $value) -}}
{{- $faults = append $faults (printf "%s contradicts another name of the file system: csi.storage.k8s.io/fstype is enough" $key) -}}
{{- end -}}
{{- $fs = $value -}}
{{- end -}}
{{- end -}}
{{- if eq (get $p "storage_type") "vfs" -}}
{{- if eq $disk "hdd" -}}
{{- $faults = append $faults "storage_type vfs is on disk_type nvme only" -}}
{{- end -}}
{{- range $key := list "encryption" "read_ahead_kb" "mkfs_block_size" "mkfs_inode_size" "mkfs_bytes_per_inode" -}}
{{- if hasKey $p $key -}}
{{- $faults = append $faults (printf "%s is for storage_type block" $key) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $fs = default "ext4" $fs -}}
{{- range $key, $for := dict "read_ahead_kb" (list "ext4" "xfs") "mkfs_block_size" (list "ext4" "xfs") "mkfs_inode_size" (list "ext4" "xfs") "mkfs_bytes_per_inode" (list "ext4") -}}
{{- if and (hasKey $p $key) (not (has $fs $for)) -}}
{{- $faults = append $faults (printf "%s is for %s, the file system is %s" $key (join " and " $for) $fs) -}}
{{- end -}}
{{- end -}}
{{- $block := atoi (default "4096" (get $p "mkfs_block_size")) -}}
{{- if eq $fs "ext4" -}}
{{- $inode := atoi (default "256" (get $p "mkfs_inode_size")) -}}
{{- if gt $inode $block -}}
{{- $faults = append $faults (printf "mkfs_inode_size: %d is more than a block, which has %d bytes (mkfs_block_size)" $inode $block) -}}
{{- end -}}
{{- $least := int (max $block (mul 2 $inode)) -}}
{{- with get $p "mkfs_bytes_per_inode" -}}
{{- if lt (atoi .) $least -}}
{{- $faults = append $faults (printf "mkfs_bytes_per_inode: %s is too few: with blocks of %d bytes and inodes of %d it has to be %d or more" . $block $inode $least) -}}
{{- end -}}
{{- end -}}
{{- else if eq $fs "xfs" -}}
{{- $inode := atoi (default "512" (get $p "mkfs_inode_size")) -}}
{{- if or (lt $inode 512) (gt (int (mul 2 $inode)) $block) -}}
{{- $faults = append $faults (printf "mkfs_inode_size: with xfs and blocks of %d bytes (mkfs_block_size) it has to be 512 to %d" $block (int (div $block 2))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (hasKey $p "encryption") (not (get $p "csi.storage.k8s.io/node-stage-secret-name")) -}}
{{- $faults = append $faults "encryption needs the Secret with the passphrase: csi.storage.k8s.io/node-stage-secret-name and -namespace" -}}
{{- end -}}
{{- range $which := list "node-stage" "node-expand" -}}
{{- $secret := printf "csi.storage.k8s.io/%s-secret" $which -}}
{{- if ne (hasKey $p (printf "%s-name" $secret)) (hasKey $p (printf "%s-namespace" $secret)) -}}
{{- $faults = append $faults (printf "%s-name and %s-namespace need each other" $secret $secret) -}}
{{- end -}}
{{- end -}}
{{- toJson $faults -}}
{{- end }}
