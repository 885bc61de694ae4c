// The custom resources that the chart renders.
//
// The Grafana Operator publishes no types: this is what its documentation has of GrafanaDashboard.
import type { IHTTPRoute } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute';
import type { IPodMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor';
import type { IPrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule';
import type { IServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor';

export interface GrafanaDashboard {
  apiVersion: 'grafana.integreatly.org/v1beta1';
  kind: 'GrafanaDashboard';
  metadata: IServiceMonitor['metadata'];
  spec: {
    allowCrossNamespaceImport?: boolean;
    folder?: string;
    instanceSelector: { matchLabels?: Record<string, string> };
    json: string;
    resyncPeriod?: string;
  };
}

export interface Kinds {
  GrafanaDashboard: GrafanaDashboard;
  HTTPRoute: IHTTPRoute;
  PodMonitor: IPodMonitor;
  PrometheusRule: IPrometheusRule;
  ServiceMonitor: IServiceMonitor;
}
