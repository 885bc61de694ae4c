{{/* The endpoint of a ServiceMonitor or PodMonitor. Arguments: a list of the root context and the values. */}}
{{- define "exporter.endpoint" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
- port: http
  path: {{ include "exporter.metricsPath" $root | quote }}
  scheme: {{ $values.scheme | default (include "exporter.scheme" $root) }}
  {{- with $values.interval }}
  interval: {{ . | quote }}
  {{- end }}
  {{- with $values.scrapeTimeout }}
  scrapeTimeout: {{ . | quote }}
  {{- end }}
  honorLabels: {{ $values.honorLabels }}
  relabelings:
    {{- with $values.dropTargetLabels }}
    - action: labeldrop
      regex: {{ . | quote }}
    {{- end }}
    # Alerts and dashboards expect this name.
    - action: replace
      targetLabel: job
      replacement: aws-iam-key-exporter
    {{- with $values.relabelings }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- range $key := list "metricRelabelings" "tlsConfig" "basicAuth" }}
  {{- with get $values $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- with $values.proxyUrl }}
  proxyUrl: {{ . | quote }}
  {{- end }}
{{- end -}}

{{/* A duration of Prometheus in milliseconds. */}}
{{- define "exporter.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 "w" 604800000 "y" 31536000000 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+[a-z]+" . -1 -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" . | atoi) (get $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* Limits and labels of a ServiceMonitor or PodMonitor. Argument: the values. */}}
{{- define "exporter.scrapeLimits" -}}
{{- range $key := list "sampleLimit" "labelLimit" "labelNameLengthLimit" "labelValueLengthLimit" }}
{{- with get $ $key }}
{{ $key }}: {{ int64 . }}
{{- end }}
{{- end }}
{{- with .bodySizeLimit }}
bodySizeLimit: {{ . }}
{{- end }}
{{- with .podTargetLabels }}
podTargetLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
