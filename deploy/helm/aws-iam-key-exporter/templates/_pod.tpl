{{/* The arguments of the exporter. */}}
{{- define "exporter.args" -}}
- --config.file=/etc/aws-iam-key-exporter/config/config.yaml
{{- if .Values.configReload.enabled }}
- {{ printf "--config.auto-reload-interval=%s" .Values.configReload.interval | quote }}
{{- end }}
- --web.listen-address=:10064
- --web.probe-listen-address=:10065
{{- if or .Values.webConfiguration .Values.webConfigurationExistingSecret }}
- --web.config.file=/etc/aws-iam-key-exporter/web/web-config.yaml
{{- end }}
{{- with .Values.web }}
{{- if ne .telemetryPath "/metrics" }}
- {{ printf "--web.telemetry-path=%s" .telemetryPath | quote }}
{{- end }}
{{- if .externalUrl }}
- {{ printf "--web.external-url=%s" .externalUrl | quote }}
{{- end }}
{{- if .routePrefix }}
- {{ printf "--web.route-prefix=%s" .routePrefix | quote }}
{{- end }}
{{- if .enableLifecycle }}
- --web.enable-lifecycle
{{- end }}
{{- if .disablePages }}
- --web.disable-pages
{{- end }}
{{- end }}
{{- if .Values.sharding.enabled }}
- {{ printf "--total-shards=%d" (int .Values.sharding.shards) | quote }}
{{- if not (kindIs "invalid" .Values.sharding.ordinal) }}
- {{ printf "--shard=%d" (int .Values.sharding.ordinal) | quote }}
{{- end }}
{{- end }}
- {{ printf "--log.level=%s" .Values.log.level | quote }}
- {{ printf "--log.format=%s" .Values.log.format | quote }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* What every pod of the chart has. */}}
{{- define "exporter.podSpec" -}}
serviceAccountName: {{ include "exporter.serviceAccountName" . | quote }}
automountServiceAccountToken: {{ .Values.serviceAccount.automountServiceAccountToken }}
# Its variables, such as AWS_IAM_KEY_EXPORTER_PORT, have the prefix of the exporter's own.
enableServiceLinks: false
{{- with concat (.Values.imagePullSecrets | default list) (.Values.global.imagePullSecrets | default list) | uniq }}
imagePullSecrets:
  {{- range . }}
  - name: {{ ternary . (get (ternary dict . (kindIs "string" .)) "name") (kindIs "string" .) | quote }}
  {{- end }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $key := list "priorityClassName" "dnsPolicy" "runtimeClassName" }}
{{- with get $.Values $key }}
{{ $key }}: {{ . | quote }}
{{- end }}
{{- end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "dnsConfig" "hostAliases" }}
{{- with get $.Values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The template of the exporter's pods. */}}
{{- define "exporter.podTemplate" -}}
metadata:
  labels:
    {{- $labels := mergeOverwrite (deepCopy (.Values.podLabels | default dict)) (dict "app.kubernetes.io/component" "exporter") }}
    {{- include "exporter.labels" (list . $labels) | nindent 4 }}
  annotations:
    {{- include "exporter.podAnnotations" . | nindent 4 }}
spec:
  {{- include "exporter.podSpec" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ int .Values.terminationGracePeriodSeconds }}
  {{- if or .Values.topologySpreadConstraints (gt (int (include "exporter.replicas" .)) 1) }}
  topologySpreadConstraints:
    {{- if .Values.topologySpreadConstraints }}
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "exporter.selectorLabels" . | nindent 10 }}
          app.kubernetes.io/component: exporter
    {{- end }}
  {{- end }}
  {{- with .Values.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: exporter
      image: {{ include "exporter.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        {{- include "exporter.args" . | nindent 8 }}
      env:
        {{- include "exporter.env" . | nindent 8 }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: 10064
        - name: probes
          containerPort: 10065
      {{- range $key := list "livenessProbe" "readinessProbe" "startupProbe" "lifecycle" "resources" "securityContext" }}
      {{- with get $.Values $key }}
      {{ $key }}:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      volumeMounts:
        {{- include "exporter.volumeMounts" . | nindent 8 }}
        - name: state
          mountPath: /var/lib/aws-iam-key-exporter
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "exporter.volumes" . | nindent 4 }}
    {{- if not .Values.persistence.enabled }}
    - name: state
      emptyDir: {}
    {{- else if eq (include "exporter.kind" .) "Deployment" }}
    - name: state
      persistentVolumeClaim:
        claimName: {{ .Values.persistence.existingClaim | default (include "exporter.fullname" .) | quote }}
    {{- end }}
{{- end -}}

{{/* The specification of the volume claim. */}}
{{- define "exporter.claimSpec" -}}
accessModes:
  {{- toYaml .Values.persistence.accessModes | nindent 2 }}
{{- with .Values.persistence.storageClass }}
storageClassName: {{ ternary "" . (eq . "-") | quote }}
{{- end }}
resources:
  requests:
    storage: {{ .Values.persistence.size | quote }}
{{- end -}}
