// Grafana's types, as far as the dashboards use them.
//
// What is waived, and why:
//
// - A missing property is fine: Grafana fills in its default. A property that does not exist is not.
// - Values of enumerations are written as in JSON: "auto", not BigValueTextMode.Auto.
// - `definition` of variables: Grafana writes it, and shows it in the list of variables, but its
//   types do not have it.
// - Prometheus's queries and annotations have no types in this package.
// - Options of transformations, and values of overrides, are `any` in Grafana's types.
import type {
  AnnotationQuery,
  Dashboard as GrafanaDashboard,
  FieldConfig,
  Panel,
  RowPanel,
  VariableModel,
} from '@grafana/schema';
import type { Options as BarGauge } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type {
  FieldConfig as StateTimelineField,
  Options as StateTimeline,
} from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type {
  FieldConfig as TableField,
  Options as Table,
} from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { Options as Text } from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import type {
  FieldConfig as TimeSeriesField,
  Options as TimeSeries,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type Json<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends readonly (infer Item)[]
      ? Json<Item>[]
      : T extends object
        ? { [Name in keyof T]?: Json<T[Name]> }
        : T;

type Of<Type extends string, Options, Custom = Record<string, never>> = Json<
  Omit<Panel, 'type' | 'options' | 'fieldConfig'>
> & {
  type: Type;
  options: Json<Options>;
  fieldConfig: {
    defaults: Json<Omit<FieldConfig, 'custom'>> & { custom?: Json<Custom> };
    overrides: { matcher: { id: string; options: string }; properties: { id: string; value: unknown }[] }[];
  };
};

type Annotation = Json<Omit<AnnotationQuery, 'target'>> & {
  target: { refId: string; expr: string; interval: string };
  titleFormat: string;
  textFormat: string;
  tagKeys: string;
};

export type Dashboard = Json<Omit<GrafanaDashboard, 'annotations' | 'panels' | 'templating'>> & {
  annotations: { list: Annotation[] };
  templating: { list: (Json<VariableModel> & { definition?: string })[] };
};
export type Panels = {
  row: Json<RowPanel>;
  bargauge: Of<'bargauge', BarGauge>;
  stat: Of<'stat', Stat>;
  'state-timeline': Of<'state-timeline', StateTimeline, StateTimelineField>;
  table: Of<'table', Table, TableField>;
  text: Of<'text', Text>;
  timeseries: Of<'timeseries', TimeSeries, TimeSeriesField>;
};
