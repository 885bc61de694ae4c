{{/* Fails if values contradict each other, with what is wrong and what to do, all at once. */}}
{{- define "exporter.validate" -}}
{{- $problems := list -}}
{{- $values := .Values -}}
{{- $config := $values.config | default dict -}}
{{- $several := or (gt (int $values.replicaCount) 1) (and $values.sharding.enabled (kindIs "invalid" $values.sharding.ordinal) (gt (int $values.sharding.shards) 1)) -}}
{{- if gt (int $values.replicaCount) 1 -}}
{{- if $values.sharding.enabled -}}
{{- $problems = append $problems "replicaCount: must be 1 with sharding, whose number of pods is sharding.shards" -}}
{{- else if not $values.highAvailability -}}
{{- $problems = append $problems "replicaCount: more than one replica would not share the work: each reads every account, so that calls to AWS and series double. Share the accounts with sharding.enabled, or set highAvailability if you want that" -}}
{{- end -}}
{{- end -}}
{{- if and $values.sharding.enabled (include "exporter.writesConfig" .) (not (or (get $config "accounts") (get $config "organization"))) -}}
{{- $problems = append $problems "sharding.enabled: requires config.accounts or config.organization: there is only one account to read" -}}
{{- end -}}
{{- $name := include "exporter.fullname" . -}}
{{- if not (regexMatch "^[a-z][a-z0-9-]*$" $name) -}}
{{- $problems = append $problems (printf "the name of the objects would be %s, but that of a Service begins with a letter and has no dots: set fullnameOverride, or choose another name for the release" $name) -}}
{{- end -}}
{{- range $section, $kind := dict "accounts" "slice" "aws" "map" "state" "map" -}}
{{- $value := get $config $section -}}
{{- if not (or (empty $value) (kindIs $kind $value)) -}}
{{- $problems = append $problems (printf "config.%s: must be %s" $section (ternary "a list" "an object" (eq $kind "slice"))) -}}
{{- end -}}
{{- end -}}
{{- $accounts := get $config "accounts" -}}
{{- range $number, $account := ternary $accounts list (kindIs "slice" $accounts) -}}
{{- if not (kindIs "map" $account) -}}
{{- $problems = append $problems (printf "config.accounts[%d]: must be an object" $number) -}}
{{- $account = dict "account_id" "?" -}}
{{- end -}}
{{- if and $values.sharding.enabled (not (or $account.account_id $account.role_arn)) -}}
{{- $problems = append $problems (printf "config.accounts[%d]: requires account_id or role_arn with sharding: the ID of an account decides which pod reads it" $number) -}}
{{- end -}}
{{- if or (kindIs "float64" $account.account_id) (kindIs "int64" $account.account_id) -}}
{{- $problems = append $problems (printf "config.accounts[%d].account_id: must be in quotes: it is a text, in which zeros at the beginning count" $number) -}}
{{- end -}}
{{- end -}}
{{- if and (not (kindIs "invalid" $values.sharding.ordinal)) (not $values.sharding.enabled) -}}
{{- $problems = append $problems "sharding.ordinal: has no effect without sharding.enabled" -}}
{{- else if and (not (kindIs "invalid" $values.sharding.ordinal)) (ge (int $values.sharding.ordinal) (int $values.sharding.shards)) -}}
{{- $problems = append $problems (printf "sharding.ordinal: must be from 0 to %d: sharding.shards is %d" (sub (int $values.sharding.shards) 1) (int $values.sharding.shards)) -}}
{{- end -}}
{{- if and $values.persistence.existingClaim $several -}}
{{- $problems = append $problems "persistence.existingClaim: is only for a single pod: each pod needs a file of its own. Leave it empty, so that each gets a claim, or use a database" -}}
{{- end -}}
{{- if and $values.persistence.existingClaim (not $values.persistence.enabled) -}}
{{- $problems = append $problems "persistence.existingClaim: has no effect without persistence.enabled" -}}
{{- end -}}
{{- if and $values.persistence.enabled $values.database.existingSecret -}}
{{- $problems = append $problems "persistence.enabled and database.existingSecret exclude each other: the state is in a file or in a database" -}}
{{- end -}}
{{- $state := get $config "state" -}}
{{- $state = ternary $state dict (kindIs "map" $state) -}}
{{- if and $values.persistence.enabled $state.url -}}
{{- $problems = append $problems "persistence.enabled and config.state.url exclude each other: the state is in a file or in a database" -}}
{{- end -}}
{{- if and $values.persistence.enabled $state.path (not (hasPrefix "/var/lib/aws-iam-key-exporter/" (toString $state.path))) -}}
{{- $problems = append $problems "config.state.path: must be in /var/lib/aws-iam-key-exporter, where the volume of persistence is, or be left out" -}}
{{- end -}}
{{- if and $values.database.existingSecret $state.path -}}
{{- $problems = append $problems "database.existingSecret and config.state.path exclude each other: the state is in a file or in a database" -}}
{{- end -}}
{{- if and $values.database.existingSecret (not (include "exporter.writesConfig" .)) -}}
{{- $problems = append $problems "database.existingSecret: has no effect with existingConfigMap or existingConfigSecret: set state.url in that configuration, with a variable from extraEnv" -}}
{{- end -}}
{{- if and $values.config (not (include "exporter.writesConfig" .)) -}}
{{- $problems = append $problems "config: has no effect with existingConfigMap or existingConfigSecret" -}}
{{- end -}}
{{- if and $values.existingConfigMap $values.existingConfigSecret -}}
{{- $problems = append $problems "existingConfigMap and existingConfigSecret exclude each other" -}}
{{- end -}}
{{- if hasPrefix "/-/" $values.web.telemetryPath -}}
{{- $problems = append $problems "web.telemetryPath: must not begin with /-/, which is reserved for probes" -}}
{{- end -}}
{{- if and $values.webConfiguration $values.webConfigurationExistingSecret -}}
{{- $problems = append $problems "webConfiguration and webConfigurationExistingSecret exclude each other" -}}
{{- end -}}
{{- if and $values.caBundle.configMap $values.caBundle.secret -}}
{{- $problems = append $problems "caBundle.configMap and caBundle.secret exclude each other" -}}
{{- end -}}
{{- if and $values.serviceMonitor.enabled $values.podMonitor.enabled -}}
{{- $problems = append $problems "serviceMonitor.enabled and podMonitor.enabled exclude each other: each pod would be scraped twice" -}}
{{- end -}}
{{- $monitors := dict "serviceMonitor" $values.serviceMonitor "podMonitor" (mergeOverwrite (deepCopy $values.serviceMonitor) $values.podMonitor) -}}
{{- range $name, $monitor := $monitors -}}
{{- if and $monitor.enabled $monitor.basicAuth (ne ($monitor.scheme | default (include "exporter.scheme" $)) "https") -}}
{{- $problems = append $problems (printf "%s.basicAuth: the password would be sent without encryption: set webConfiguration.tls_server_config, or %s.scheme if a secret has it" $name $name) -}}
{{- end -}}
{{- if and $monitor.enabled $values.webConfigurationExistingSecret (not $monitor.scheme) -}}
{{- $problems = append $problems (printf "%s.scheme: must be set with webConfigurationExistingSecret: https if the secret has tls_server_config, or else http" $name) -}}
{{- end -}}
{{- if and $monitor.enabled (eq ($monitor.scheme | default "") "http") (eq (include "exporter.scheme" $) "https") -}}
{{- $problems = append $problems (printf "%s.scheme: must be https, or left out: webConfiguration has tls_server_config" $name) -}}
{{- end -}}
{{- $timeout := include "exporter.milliseconds" ($monitor.scrapeTimeout | default "") | int64 -}}
{{- $interval := include "exporter.milliseconds" ($monitor.interval | default "") | int64 -}}
{{- if and $monitor.enabled $interval (gt $timeout $interval) -}}
{{- $problems = append $problems (printf "%s.scrapeTimeout: must not be longer than %s.interval, %s: the Prometheus Operator would ignore the monitor" $name $name $monitor.interval) -}}
{{- end -}}
{{- end -}}
{{- if not (or (kindIs "invalid" $values.podDisruptionBudget.minAvailable) (kindIs "invalid" $values.podDisruptionBudget.maxUnavailable)) -}}
{{- $problems = append $problems "podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable exclude each other" -}}
{{- end -}}
{{- $kind := include "exporter.kind" . -}}
{{- $types := ternary (list "RollingUpdate" "OnDelete") (list "Recreate" "RollingUpdate") (eq $kind "StatefulSet") -}}
{{- $type := get ($values.strategy | default dict) "type" -}}
{{- if and $type (not (has $type $types)) -}}
{{- $problems = append $problems (printf "strategy.type: must be %s for a %s, which these values need" (join " or " $types) $kind) -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\n- %s\n" (join "\n- " $problems)) -}}
{{- end -}}
{{- end -}}
