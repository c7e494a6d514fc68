// Writes the dashboards as JSON, one file for each dashboard and store. Run it with `make dashboards`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { DashboardBuilder, DashboardCursorSync } from '@grafana/grafana-foundation-sdk/dashboard';
import { LegendDisplayMode, LegendPlacement, TooltipDisplayMode, VisibilityMode } from '@grafana/grafana-foundation-sdk/common';
import { VizLegendOptionsBuilder, VizTooltipOptionsBuilder } from '@grafana/grafana-foundation-sdk/common';
import * as heatmap from '@grafana/grafana-foundation-sdk/heatmap';
import * as stat from '@grafana/grafana-foundation-sdk/stat';
import * as table from '@grafana/grafana-foundation-sdk/table';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';
import { fleet, link } from './panels.js';
import { InfluxQL, Prometheus, type Look, type Panel, type Store } from './store.js';

const lines = () =>
  new timeseries.PanelBuilder()
    .lineWidth(1).fillOpacity(8).showPoints(VisibilityMode.Auto).spanNulls(60_000)
    .legend(new VizLegendOptionsBuilder().displayMode(LegendDisplayMode.Table).placement(LegendPlacement.Bottom).showLegend(true).calcs(['lastNotNull', 'max']))
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi));

const panelOf = (look: Look) => {
  switch (look) {
    case 'lines': return lines();
    case 'stat': return new stat.PanelBuilder();
    case 'table': return new table.PanelBuilder();
    case 'heatmap': return new heatmap.PanelBuilder();
  }
};

/** A heatmap needs native histograms; where the store has none, the medians are drawn as lines. */
const lookIn = (store: Store, look: Look): Look => (look === 'heatmap' && store.name === 'influxql' ? 'lines' : look);

function build(title: string, uid: string, description: string, names: string[], panels: Panel[], store: Store) {
  const dashboard = new DashboardBuilder(`nrprobe ${title} (${store.label})`)
    .uid(`nrprobe-${uid}-${store.name}`).description(description).tags(['nrprobe', '5g', store.name])
    .time({ from: 'now-30m', to: 'now' }).refresh('10s').timezone('browser').tooltip(DashboardCursorSync.Crosshair);
  store.variables(names).forEach((v) => dashboard.withVariable(v));
  for (const p of panels) {
    const look = lookIn(store, p.look);
    const panel = panelOf(look).title(p.title).description(p.description).unit(p.unit).span(p.span).height(p.look === 'stat' ? 8 : 9)
      .datasource(store.datasource);
    p.queries.forEach((q, i) => panel.withTarget(store.query(q, look, String.fromCharCode(65 + i), names)));
    dashboard.withPanel(panel);
  }
  return dashboard.build();
}

mkdirSync('json', { recursive: true });
for (const store of [new Prometheus(), new InfluxQL()]) {
  const all = {
    fleet: build('Fleet', 'fleet', 'All agents: who reports, how the links are.', ['agent'], fleet, store),
    link: build('Link', 'link', 'One link in depth: delay, loss, interruption, speed and radio.', ['agent', 'probe'], link, store),
  };
  for (const [name, dashboard] of Object.entries(all)) {
    writeFileSync(`json/${name}-${store.name}.json`, JSON.stringify(dashboard, null, 2) + '\n');
  }
}
