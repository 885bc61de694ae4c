{{/* The configuration file. The URL of a database comes from the environment. */}}
{{- define "exporter.config" -}}
{{- $config := deepCopy (.Values.config | default dict) -}}
{{- if .Values.database.existingSecret -}}
{{- $_ := set $config "state" (mergeOverwrite (get $config "state" | default dict) (dict "url" "${DATABASE_URL}")) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Whether the chart writes the configuration file. */}}
{{- define "exporter.writesConfig" -}}
{{- if not (or .Values.existingConfigMap .Values.existingConfigSecret) -}}true{{- end -}}
{{- end -}}

{{/* Annotations of pods. A checksum restarts them when something changes that is not reloaded. */}}
{{- define "exporter.podAnnotations" -}}
{{- $annotations := dict "kubectl.kubernetes.io/default-container" "exporter" -}}
{{- if include "exporter.writesConfig" . -}}
{{- $config := include "exporter.config" . | fromYaml -}}
{{- if .Values.configReload.enabled -}}
{{- $config = dict "aws" (get $config "aws") "state" (pick (get $config "state" | default dict) "path" "url") -}}
{{- end -}}
{{- $_ := set $annotations "checksum/config" (toJson $config | sha256sum) -}}
{{- end -}}
{{- toYaml (mergeOverwrite $annotations (.Values.podAnnotations | default dict)) -}}
{{- end -}}

{{/* The environment. */}}
{{- define "exporter.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- with .Values.aws.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.aws.credentialsSecret }}
{{- if .name }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .accessKeyIdKey | quote }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .secretAccessKeyKey | quote }}
{{- if .sessionTokenKey }}
- name: AWS_SESSION_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .sessionTokenKey | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.proxy }}
{{- if .httpsProxy }}
- name: HTTPS_PROXY
  value: {{ .httpsProxy | quote }}
{{- end }}
{{- if .httpProxy }}
- name: HTTP_PROXY
  value: {{ .httpProxy | quote }}
{{- end }}
{{- if and .noProxy (or .httpsProxy .httpProxy) }}
- name: NO_PROXY
  value: {{ .noProxy | quote }}
{{- end }}
{{- end }}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}
- name: AWS_CA_BUNDLE
  value: {{ printf "/etc/aws-iam-key-exporter/ca/%s" .Values.caBundle.key | quote }}
{{- end }}
{{- with .Values.database }}
{{- if .existingSecret }}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What is mounted into the exporter, except for its state. */}}
{{- define "exporter.volumeMounts" -}}
- name: config
  mountPath: /etc/aws-iam-key-exporter/config
  readOnly: true
{{- if or .Values.webConfiguration .Values.webConfigurationExistingSecret }}
- name: web-config
  mountPath: /etc/aws-iam-key-exporter/web
  readOnly: true
{{- end }}
{{- range $number, $name := .Values.existingSecrets }}
- name: secret-{{ $number }}
  mountPath: {{ printf "/etc/aws-iam-key-exporter/secrets/%s" $name | quote }}
  readOnly: true
{{- end }}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}
- name: ca
  mountPath: /etc/aws-iam-key-exporter/ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Directories, not single files, which Kubernetes would not update. */}}
{{- define "exporter.volumes" -}}
{{- $fullname := include "exporter.fullname" . -}}
- name: config
  {{- if or .Values.existingConfigSecret (and .Values.configInSecret (not .Values.existingConfigMap)) }}
  secret:
    secretName: {{ .Values.existingConfigSecret | default (printf "%s-config" $fullname) | quote }}
  {{- else }}
  configMap:
    name: {{ .Values.existingConfigMap | default (printf "%s-config" $fullname) | quote }}
  {{- end }}
{{- if or .Values.webConfiguration .Values.webConfigurationExistingSecret }}
- name: web-config
  secret:
    secretName: {{ .Values.webConfigurationExistingSecret | default (printf "%s-web-config" $fullname) | quote }}
{{- end }}
{{- range $number, $name := .Values.existingSecrets }}
- name: secret-{{ $number }}
  secret:
    secretName: {{ $name | quote }}
{{- end }}
{{- with .Values.caBundle }}
{{- if .configMap }}
- name: ca
  configMap:
    name: {{ .configMap | quote }}
{{- else if .secret }}
- name: ca
  secret:
    secretName: {{ .secret | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
