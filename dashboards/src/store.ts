// The two stores that a dashboard can read. A panel is described once, with a query for each store; a Store turns the
// description into what Grafana needs for one of them.
import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog';
import { DatasourceVariableBuilder, QueryVariableBuilder, VariableRefresh, VariableSort } from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';

/** One line, or one set of lines, of a panel. */
export interface Query {
  /** PromQL; $filter stands for the label matchers of the dashboard's variables. */
  prom: string;
  /** InfluxQL; $filter stands for the conditions of the variables and of the time range. */
  influx: string;
  legend: string;
}

export type Look = 'lines' | 'stat' | 'table' | 'heatmap';

/** One panel, independent of the store. */
export interface Panel {
  title: string;
  description: string;
  look: Look;
  unit: string;
  /** Width of 24 columns. */
  span: number;
  queries: Query[];
}

export interface Store {
  name: 'prometheus' | 'influxql';
  label: string;
  datasource: { type: string; uid: string };
  variables(names: string[]): Builder<any>[];
  query(q: Query, look: Look, refId: string, names: string[]): Builder<Dataquery>;
}

const datasourceVariable = (type: string, label: string) =>
  new DatasourceVariableBuilder('datasource').label(label).type(type);

const choice = (name: string, label: string, query: string | Record<string, unknown>, datasource: { type: string; uid: string }) =>
  new QueryVariableBuilder(name).label(label).query(query as Record<string, any>).datasource(datasource)
    .refresh(VariableRefresh.OnTimeRangeChanged).sort(VariableSort.AlphabeticalAsc)
    .multi(true).includeAll(true)
    .current({ text: 'All', value: '$__all' });

export class Prometheus implements Store {
  readonly name = 'prometheus';
  readonly label = 'Prometheus';
  readonly datasource = { type: 'prometheus', uid: '${datasource}' };

  variables(names: string[]): Builder<any>[] {
    return [
      datasourceVariable('prometheus', 'Store'),
      ...names.map((n) => choice(n, n, `label_values(nrprobe_probe_runs_total, ${n})`, this.datasource).allValue('.*')),
    ];
  }

  query(q: Query, look: Look, refId: string, names: string[]): Builder<Dataquery> {
    const filter = names.map((n) => `${n}=~"$${n}"`).join(',');
    const b = new DataqueryBuilder().refId(refId).expr(q.prom.replaceAll('$filter', filter)).legendFormat(q.legend);
    if (look === 'table' || look === 'stat') return b.instant().format(look === 'table' ? PromQueryFormat.Table : PromQueryFormat.TimeSeries);
    return b.range().format(look === 'heatmap' ? PromQueryFormat.Heatmap : PromQueryFormat.TimeSeries);
  }
}

/** The SDK has no InfluxDB query; this is the part of it that a raw InfluxQL query needs. */
interface InfluxQuery extends Dataquery {
  refId: string;
  query: string;
  rawQuery: true;
  alias?: string;
  resultFormat: 'time_series' | 'table';
}

class InfluxQueryBuilder implements Builder<Dataquery> {
  constructor(private readonly q: Omit<InfluxQuery, '_implementsDataqueryVariant'>) {}

  build(): Dataquery {
    return { ...this.q, _implementsDataqueryVariant() {} } as InfluxQuery;
  }
}

export class InfluxQL implements Store {
  readonly name = 'influxql';
  readonly label = 'InfluxDB (InfluxQL)';
  readonly datasource = { type: 'influxdb', uid: '${datasource}' };

  variables(names: string[]): Builder<any>[] {
    return [
      datasourceVariable('influxdb', 'Store'),
      ...names.map((n) => choice(n, n, `SHOW TAG VALUES FROM "nrprobe" WITH KEY = "${n}"`, this.datasource).allValue('.*')),
    ];
  }

  query(q: Query, look: Look, refId: string, names: string[]): Builder<Dataquery> {
    const filter = [...names.map((n) => `"${n}" =~ /^$${n}$/`), '$timeFilter'].join(' AND ');
    const table = look === 'table';
    return new InfluxQueryBuilder({
      refId, rawQuery: true, query: q.influx.replaceAll('$filter', filter),
      resultFormat: table ? 'table' : 'time_series', ...(table ? {} : { alias: influxAlias(q.legend) }),
    });
  }
}

/** "{{agent}} p95" is "$tag_agent p95" in InfluxQL. */
const influxAlias = (legend: string) => legend.replaceAll(/\{\{(\w+)\}\}/g, '[[tag_$1]]');
