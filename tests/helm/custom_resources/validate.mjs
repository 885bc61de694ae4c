// Prints what is wrong with the values of custom resources, such as durations: a line for each.
//
// Usage: node validate.mjs FILE, a JSON object of manifests by name.
import { readFileSync } from 'node:fs';
import { HTTPRoute } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute';
import { PodMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor';
import { PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule';
import { ServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor';

const kinds = { HTTPRoute, PodMonitor, PrometheusRule, ServiceMonitor };
for (const [name, manifest] of Object.entries(JSON.parse(readFileSync(process.argv[2], 'utf8')))) {
  const Kind = kinds[manifest.kind];
  if (Kind === undefined) continue;
  try {
    new Kind(manifest).validate();
  } catch (error) {
    console.log(`${name}: ${error.message.replaceAll('\n', ' ')}`);
  }
}
