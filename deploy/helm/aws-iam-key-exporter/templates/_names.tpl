{{/* The name of the application, for the label app.kubernetes.io/name. */}}
{{- define "exporter.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimAll "-._" -}}
{{- end -}}

{{/*
The name of all objects. A StatefulSet may have 52 characters: its pods are labelled with its name and
a hash. A longer name ends with a hash as well, so that two of them differ.
*/}}
{{- define "exporter.fullname" -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name $chart) (contains $chart .Release.Name) -}}
{{- end -}}
{{- if gt (len $name) 52 -}}
{{- $name = printf "%s-%s" ($name | trunc 43 | trimSuffix "-") (sha256sum $name | trunc 8) -}}
{{- end -}}
{{- $name | trimSuffix "-" -}}
{{- end -}}

{{- define "exporter.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- define "exporter.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "exporter.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/*
The labels of an object. Arguments: a list of the root context and additional labels. Nothing replaces
those by which objects are selected.
*/}}
{{- define "exporter.labels" -}}
{{- $root := index . 0 -}}
{{- $labels := dict
      "app.kubernetes.io/version" $root.Chart.AppVersion
      "app.kubernetes.io/managed-by" $root.Release.Service
      "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimAll "-._") -}}
{{- $release := ternary (dict "release" $root.Release.Name) dict (eq (toString $root.Values.releaseLabel) "true") -}}
{{- range list $release $root.Values.commonLabels (index . 1) (include "exporter.selectorLabels" $root | fromYaml) -}}
{{- $labels = mergeOverwrite $labels (deepCopy (. | default dict)) -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end -}}

{{/*
Metadata of an object. Arguments: a list of the root context, the name (empty: the fullname), the
namespace (empty: the usual one), additional labels, and annotations.
*/}}
{{- define "exporter.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 | default (include "exporter.fullname" $root) | quote }}
namespace: {{ index . 2 | default (include "exporter.namespace" $root) | quote }}
labels:
  {{- include "exporter.labels" (list $root (index . 3)) | nindent 2 }}
{{- with index . 4 }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "exporter.image" -}}
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry -}}
{{- $image := .Values.image.repository -}}
{{- if $registry -}}{{- $image = printf "%s/%s" (trimSuffix "/" $registry) $image -}}{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $image .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Whether pods have ordinals: StatefulSet, or else Deployment. */}}
{{- define "exporter.kind" -}}
{{- if .Values.sharding.enabled -}}
{{- ternary "StatefulSet" "Deployment" (kindIs "invalid" .Values.sharding.ordinal) -}}
{{- else -}}
{{- ternary "StatefulSet" "Deployment" (and .Values.persistence.enabled (gt (int .Values.replicaCount) 1)) -}}
{{- end -}}
{{- end -}}

{{- define "exporter.replicas" -}}
{{- if and .Values.sharding.enabled (kindIs "invalid" .Values.sharding.ordinal) -}}
{{- int .Values.sharding.shards -}}
{{- else -}}
{{- int .Values.replicaCount -}}
{{- end -}}
{{- end -}}

{{- define "exporter.headlessName" -}}
{{ include "exporter.fullname" . }}-headless
{{- end -}}

{{/* The path of the metrics, behind the route prefix. */}}
{{- define "exporter.metricsPath" -}}
{{- $prefix := .Values.web.routePrefix | default (get (urlParse (.Values.web.externalUrl | default "")) "path") -}}
{{- $path := printf "%s/%s" (trimAll "/" $prefix) (trimPrefix "/" .Values.web.telemetryPath) -}}
/{{ trimPrefix "/" $path }}
{{- end -}}

{{/* Empty settings of TLS are none, as for the exporter. */}}
{{- define "exporter.scheme" -}}
{{- ternary "http" "https" (empty (get (.Values.webConfiguration | default dict) "tls_server_config")) -}}
{{- end -}}
