// The panels. Names of metrics and fields are held against nrprobe's vocabulary by dashboards_test.go.
import type { Panel, Query } from './store.js';

const perProbe = '"agent", "probe"';
const every = (groups: string) => `GROUP BY time($__interval), ${groups} fill(none)`;

/** A quantile of a native histogram, merged over everything that is not in `by`. */
const quantile = (q: number, metric: string, by: string, more = '') =>
  `histogram_quantile(${q}, sum by (${by}) (rate(${metric}{$filter${more}}[$__rate_interval])))`;

/** The worst of the windows' quantiles: InfluxQL cannot merge histograms, and quantiles are never averaged. */
const worst = (field: string, groups = perProbe) =>
  `SELECT max("${field}") FROM "nrprobe" WHERE $filter ${every(groups)}`;

const rttQuantiles: Query[] = [['p50', 0.5], ['p95', 0.95], ['p99', 0.99]].map(([name, q]) => ({
  prom: quantile(q as number, 'nrprobe_rtt_seconds', 'agent, probe'),
  influx: worst(`rtt_${name}_seconds`),
  legend: `{{agent}} {{probe}} ${name}`,
}));

const directed = (stem: string, prom: (direction: string) => string, influx: (direction: string) => string): Query[] =>
  ['up', 'down'].map((d) => ({ prom: prom(d), influx: influx(`${stem}_${d}`), legend: `{{agent}} {{probe}} ${d}` }));

const rtt95: Panel = {
  title: 'Round-trip time, 95th percentile',
  description: 'Merged from histograms in Prometheus; in InfluxDB the worst window of each interval.',
  look: 'lines', unit: 's', span: 12,
  queries: [{ prom: quantile(0.95, 'nrprobe_rtt_seconds', 'agent, probe'), influx: worst('rtt_p95_seconds'), legend: '{{agent}} {{probe}}' }],
};

const loss: Panel = {
  title: 'Packets lost',
  description: 'Share of sent packets that did not arrive in time.',
  look: 'lines', unit: 'percentunit', span: 12,
  queries: [{
    prom: 'sum by (agent, probe) (rate(nrprobe_packets_lost_total{$filter}[$__rate_interval])) / sum by (agent, probe) (rate(nrprobe_packets_sent_total{$filter}[$__rate_interval]))',
    influx: `SELECT sum("packets_lost") / sum("packets_sent") FROM "nrprobe" WHERE $filter ${every(perProbe)}`,
    legend: '{{agent}} {{probe}}',
  }],
};

const goodput: Panel = {
  title: 'Goodput',
  description: 'What the receiver counted during load tests.',
  look: 'lines', unit: 'Bps', span: 12,
  queries: directed('goodput',
    (d) => `max by (agent, probe) (nrprobe_goodput_bytes_per_second{$filter,direction="${d}"})`,
    (f) => `SELECT max("${f}_bytes_per_second") FROM "nrprobe" WHERE $filter ${every(perProbe)}`),
};

const rsrp: Panel = {
  title: 'Signal power (RSRP)',
  description: 'Reference signal received power of the serving cell, TS 38.215 section 5.1.1.',
  look: 'lines', unit: 'dBm', span: 12,
  queries: [{
    prom: 'avg by (agent) (nrprobe_radio_rsrp_dbm{$filter})',
    influx: `SELECT mean("radio_rsrp_dbm") FROM "nrprobe" WHERE $filter ${every('"agent"')}`,
    legend: '{{agent}}',
  }],
};

const sinr: Panel = {
  title: 'Signal to interference and noise (SINR)',
  description: 'Of the serving cell, TS 38.215 section 5.1.5.',
  look: 'lines', unit: 'dB', span: 12,
  queries: [{
    prom: 'avg by (agent) (nrprobe_radio_sinr_db{$filter})',
    influx: `SELECT mean("radio_sinr_db") FROM "nrprobe" WHERE $filter ${every('"agent"')}`,
    legend: '{{agent}}',
  }],
};

export const fleet: Panel[] = [
  {
    title: 'Agents that report',
    description: 'Agents with a result in the time range.',
    look: 'stat', unit: 'none', span: 4,
    queries: [{
      prom: 'count(count by (agent) (last_over_time(nrprobe_probe_duration_seconds{$filter}[$__range])))',
      influx: 'SELECT count("last") FROM (SELECT last("elapsed_seconds") FROM "nrprobe" WHERE $filter GROUP BY "agent")',
      legend: 'agents',
    }],
  },
  {
    title: 'Results by outcome',
    description: 'A failed measurement is data too: it is recorded and delivered.',
    look: 'lines', unit: 'short', span: 20,
    queries: [{
      prom: 'sum by (outcome) (increase(nrprobe_probe_runs_total{$filter}[$__rate_interval])) > 0',
      influx: `SELECT count("elapsed_seconds") FROM "nrprobe" WHERE $filter ${every('"kind"')}`,
      legend: '{{outcome}}{{kind}}',
    }],
  },
  rtt95,
  loss,
  {
    title: 'Longest interruption',
    description: 'Longest gap in the packet stream of each window.',
    look: 'lines', unit: 's', span: 12,
    queries: [{
      prom: 'max by (agent, probe) (nrprobe_interruption_seconds{$filter})',
      influx: worst('interruption_max_seconds'), legend: '{{agent}} {{probe}}',
    }],
  },
  goodput,
  rsrp,
  {
    title: 'Last result of each probe',
    description: 'Age of the newest result.',
    look: 'table', unit: 's', span: 12,
    queries: [{
      prom: 'time() - max by (agent, probe, kind, target) (last_over_time(nrprobe_probe_last_result_timestamp_seconds{$filter}[$__range]))',
      influx: 'SELECT last("elapsed_seconds") AS "elapsed", "rtt_p95_seconds", "packets_lost" FROM "nrprobe" WHERE $filter GROUP BY "agent", "probe", "kind", "target"',
      legend: '',
    }],
  },
];

export const link: Panel[] = [
  {
    title: 'Round-trip time', description: 'Quantiles of what was received.',
    look: 'lines', unit: 's', span: 24, queries: rttQuantiles,
  },
  {
    title: 'Distribution of round-trip time', description: 'All packets, in the buckets of the native histogram.',
    look: 'heatmap', unit: 's', span: 12,
    queries: [{
      prom: 'sum(increase(nrprobe_rtt_seconds{$filter}[$__rate_interval]))',
      influx: `SELECT "rtt_p50_seconds" FROM "nrprobe" WHERE $filter`, legend: '',
    }],
  },
  {
    title: 'Delay variation, 99th percentile', description: 'One-way delay above the smallest of the window, by direction (RFC 5481).',
    look: 'lines', unit: 's', span: 12,
    queries: directed('pdv',
      (d) => quantile(0.99, 'nrprobe_delay_variation_seconds', 'agent, probe', `,direction="${d}"`),
      (f) => worst(`${f}_p99_seconds`)),
  },
  {
    title: 'Packets lost by direction', description: 'Uplink and downlink loss, from the far end\'s own sequence numbers.',
    look: 'lines', unit: 'short', span: 12,
    queries: directed('packets_lost',
      (d) => `sum by (agent, probe) (increase(nrprobe_packets_lost_total{$filter,direction="${d}"}[$__rate_interval]))`,
      (f) => `SELECT sum("${f}") FROM "nrprobe" WHERE $filter ${every(perProbe)}`),
  },
  {
    title: 'Longest interruption', description: 'Longest gap in the packet stream of each window; handovers show here.',
    look: 'lines', unit: 's', span: 12,
    queries: [{ prom: 'max by (agent, probe) (nrprobe_interruption_seconds{$filter})', influx: worst('interruption_max_seconds'), legend: '{{agent}} {{probe}}' }],
  },
  {
    title: 'TCP connect and QUIC handshake, 95th percentile', description: 'What a user waits for before the first byte can leave.',
    look: 'lines', unit: 's', span: 12,
    queries: [
      { prom: quantile(0.95, 'nrprobe_connect_seconds', 'agent, probe'), influx: worst('connect_p95_seconds'), legend: '{{agent}} {{probe}} connect' },
      { prom: quantile(0.95, 'nrprobe_handshake_seconds', 'agent, probe'), influx: worst('handshake_p95_seconds'), legend: '{{agent}} {{probe}} handshake' },
    ],
  },
  goodput,
  rsrp,
  sinr,
  {
    title: 'Events', description: 'Handovers, interruptions, address changes and clock steps.',
    look: 'lines', unit: 'short', span: 12,
    queries: [{
      prom: 'sum by (agent, type) (increase(nrprobe_events_total{$filter}[$__rate_interval]))',
      influx: `SELECT count("duration_seconds") FROM "nrprobe_event" WHERE $filter ${every('"agent"')}`,
      legend: '{{agent}} {{type}}',
    }],
  },
  {
    title: 'Doubtful results', description: 'Results whose flags say that the instrument itself was late.',
    look: 'lines', unit: 'short', span: 12,
    queries: [{
      prom: 'sum by (agent, flag) (increase(nrprobe_quality_flags_total{$filter}[$__rate_interval]))',
      influx: `SELECT count("quality") FROM "nrprobe" WHERE $filter AND "quality" != '' ${every('"agent"')}`,
      legend: '{{agent}} {{flag}}',
    }],
  },
];
