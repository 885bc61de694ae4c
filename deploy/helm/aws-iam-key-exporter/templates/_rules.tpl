{{/*
A rule of the shipped files, changed as the values say. Nothing, if it is disabled. Arguments: a list of
the root context and the rule.

A limit is a number on a line of the expression that begins with `>` and has a comment with the unit. On a
line that begins with `<=`, the comment names the alert whose limit it is.
*/}}
{{- define "exporter.rule" -}}
{{- $values := (index . 0).Values.prometheusRule -}}
{{- $rule := deepCopy (index . 1) -}}
{{- $alert := get $values.alerts $rule.alert | default dict -}}
{{- if $alert.enabled -}}
{{- $limits := ternary $alert.limit (list $alert.limit) (kindIs "slice" $alert.limit) -}}
{{- $number := 0 -}}
{{- $lines := list -}}
{{- range splitList "\n" $rule.expr -}}
{{- $line := . -}}
{{- if regexMatch "^ *> (on \\([^)]*\\) )?[0-9.]+[^#]*  # " $line -}}
{{- $limit := index $limits $number -}}
{{- $number = add1 $number -}}
{{- $line = regexReplaceAll "^( *> (?:on \\([^)]*\\) )?)[0-9.]+" $line (printf "${1}%s" (toJson $limit)) -}}
{{- end -}}
{{- with get $values.alerts (regexReplaceAll "^ *<= [0-9.]+  # the limit of (\\w+)$" $line "${1}") -}}
{{- $line = regexReplaceAll "[0-9.]+" $line (toJson .limit) -}}
{{- end -}}
{{- $lines = append $lines $line -}}
{{- end -}}
{{- $_ := set $rule "expr" (join "\n" $lines) -}}
{{- $_ := set $rule "labels" (mergeOverwrite $rule.labels (deepCopy ($values.alertLabels | default dict)) (dict "severity" $alert.severity) (deepCopy ($alert.labels | default dict))) -}}
{{- range $key, $value := dict "for" $alert.for "keep_firing_for" $alert.keepFiringFor -}}
{{- if $value -}}
{{- $_ := set $rule $key $value -}}
{{- else -}}
{{- $_ := unset $rule $key -}}
{{- end -}}
{{- end -}}
{{- $annotations := $rule.annotations -}}
{{- if $values.grafanaUrl -}}
{{- $_ := set $annotations "dashboard_url" (replace "http://127.0.0.1:3000" (trimSuffix "/" $values.grafanaUrl) $annotations.dashboard_url) -}}
{{- else -}}
{{- $_ := unset $annotations "dashboard_url" -}}
{{- end -}}
{{- $_ := set $annotations "runbook_url" (printf "%s/%s.md" (trimSuffix "/" $values.runbookUrl) $rule.alert) -}}
{{- $_ := set $rule "annotations" (mergeOverwrite $annotations (deepCopy ($values.alertAnnotations | default dict)) (deepCopy ($alert.annotations | default dict))) -}}
{{- toYaml $rule -}}
{{- end -}}
{{- end -}}
