// The page: asks for the fleet every two seconds and brings the table up to date in place, so that what is under the
// pointer, selected or focused stays where it is. Names come from agents and are only ever set as text.
"use strict";

const POLL = 2000;         // ms between two questions
const LONGEST = 600;       // s that a chart can show
const byId = id => document.getElementById(id);
const groups = new Map();  // agent name -> its part of the table
let view = { start: 0, end: 1 };
let answered = 0;          // when the last answer came, ms
let hovered = null;        // the row under the pointer

function element(tag, cls, text) {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text != null) e.textContent = text;
  return e;
}

function setText(e, text) { if (e.textContent !== text) e.textContent = text; }

// significant writes a number with about three digits.
function significant(v) {
  if (v === 0) return "0";
  const a = Math.abs(v);
  return a >= 100 ? v.toFixed(0) : a >= 10 ? v.toFixed(1) : a >= 1 ? v.toFixed(2) : v.toPrecision(2);
}

// round drops zeros behind the point: for scales, which are round numbers.
function round(pair) { return (pair[0].includes(".") ? pair[0].replace(/\.?0+$/, "") : pair[0]) + " " + pair[1]; }

function delayText(s) { return s == null ? null : s >= 10 ? [significant(s), "s"] : [significant(s * 1000), "ms"]; }
function rateText(bytes) {
  if (bytes == null) return null;
  const bits = bytes * 8;
  for (const [unit, size] of [["Gbit/s", 1e9], ["Mbit/s", 1e6], ["kbit/s", 1e3]]) if (bits >= size) return [significant(bits / size), unit];
  return [significant(bits), "bit/s"];
}
function shareText(lost, sent) { return lost == null || !sent ? null : [significant(100 * lost / sent), "%"]; }
function agoText(seconds) {
  if (seconds < 2) return "now";
  if (seconds < 90) return Math.round(seconds) + " s ago";
  if (seconds < 5400) return Math.round(seconds / 60) + " min ago";
  return Math.round(seconds / 3600) + " h ago";
}
function plain(pair) { return pair ? pair[0] + " " + pair[1] : "not measured"; }

// fill sets a number cell: a value with its unit and up to one line below it.
function fill(cell, pair, sub) {
  cell.classList.toggle("blank", !pair);
  setText(cell.value, pair ? pair[0] : "");
  setText(cell.unit, pair ? pair[1] : "");
  setText(cell.sub, sub || "");
}

function numberCell(label, main) {
  const cell = element("td", "num");
  cell.dataset.label = label;
  cell.value = element("span", main ? "value main" : "value");
  cell.unit = element("span", "unit");
  cell.sub = element("span", "sub");
  cell.append(cell.value, cell.unit, cell.sub);
  return cell;
}

function makeProbe() {
  const row = element("tr", "probe");
  row.heading = element("th");
  row.heading.scope = "row";
  row.name = element("span", "name");
  row.kind = element("span", "sub");
  row.target = element("span", "sub");
  row.heading.append(row.name, row.kind, row.target);
  row.chart = element("td", "chart");
  row.plot = element("div", "plot");
  row.svg = svgElement("svg", { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", role: "img" });
  row.topLabel = element("span", "top-label");
  row.nothing = element("span", "none", "nothing measured lately");
  row.plot.append(row.svg, row.topLabel, row.nothing);
  row.chart.append(row.plot);
  row.numbers = {
    p50: numberCell("p50", true), p95: numberCell("p95", true), p99: numberCell("p99"),
    loss: numberCell("Loss"), interruption: numberCell("Interruption"), throughput: numberCell("Throughput"),
  };
  row.state = element("td", "state");
  row.append(row.heading, row.chart, ...Object.values(row.numbers), row.state);
  row.svg.addEventListener("pointermove", event => showTip(row, event));
  row.svg.addEventListener("pointerleave", hideTip);
  return row;
}

function makeGroup() {
  const body = document.createElement("tbody");
  const row = element("tr", "agent"), head = element("th"), line = element("div", "head");
  head.colSpan = 9;
  head.scope = "rowgroup";
  body.name = element("h2");
  body.seen = element("span", "seen");
  body.tags = element("span", "head");
  body.radio = element("span", "radio");
  line.append(body.name, body.seen, body.tags, body.radio);
  head.append(line);
  row.append(head);
  body.append(row);
  body.shown = new Map();
  return body;
}

// parts replaces the children of an element only when what they say has changed.
function parts(e, key, make) {
  if (e.key === key) return;
  e.key = key;
  e.replaceChildren(...make());
}

function signalBars(rsrp) {
  const svg = svgElement("svg", { class: "bars", viewBox: "0 0 19 14", width: 19, height: 14, "aria-hidden": "true" });
  // Five steps over the range in which NR works, from -115 dBm to -75 dBm.
  const level = Math.max(1, Math.min(5, Math.round((rsrp + 120) / 10)));
  for (let i = 0; i < 5; i++) svg.append(svgElement("rect", { class: i < level ? "on" : "", x: 4 * i, y: 10 - 2.4 * i, width: 3, height: 4 + 2.4 * i, rx: 1 }));
  return svg;
}

function signed(text) { return text.replace("-", "\u2212"); }

function radioParts(r) {
  const list = [];
  const say = (text, cls) => list.push(element("span", cls, text));
  if (r.rat) say([r.rat, r.band].filter(Boolean).join(" "), "rat");
  const cell = [r.pci != null ? "PCI " + r.pci : "", r.cell ? "cell " + r.cell : ""].filter(Boolean).join(", ");
  if (cell) say(cell);
  if (r.rsrp_dbm != null) { list.push(signalBars(r.rsrp_dbm)); say("RSRP " + signed(r.rsrp_dbm.toFixed(0)) + " dBm"); }
  if (r.sinr_db != null) say("SINR " + signed(r.sinr_db.toFixed(1)) + " dB");
  if (r.speed_metres_per_second != null) say((3.6 * r.speed_metres_per_second).toFixed(0) + " km/h");
  return list;
}

const mild = new Set(["user_stamps", "stopped_early", "partial", "load_concurrent"]);

function stateParts(p) {
  const list = [];
  if (p.outcome !== "ok") {
    const badge = element("span", "badge bad", "✕ " + p.outcome);
    list.push(badge);
    if (p.error) list.push(element("span", "sub", p.error.split("\n")[0].slice(0, 120)));
  } else {
    list.push(element("span", "badge ok", "✓ ok"));
  }
  for (const flag of p.quality || []) {
    const badge = element("span", mild.has(flag) ? "badge plain" : "badge warn", (mild.has(flag) ? "" : "⚠ ") + flag.replaceAll("_", " "));
    badge.title = mild.has(flag) ? "how it was measured" : "the instrument may have disturbed this result";
    list.push(badge);
  }
  return list;
}

function direction(lost, sent, arrow) { const t = shareText(lost, sent); return t ? arrow + " " + t[0] : ""; }

function updateProbe(row, p, events) {
  row.data = p;
  setText(row.name, p.name || p.kind);
  setText(row.kind, p.kind + (p.metric && p.metric !== "rtt" ? " " + p.metric : ""));
  setText(row.target, p.target);
  const m = p.minute, five = p.five_minutes, last = p.values;
  const span = m.count ? m : five;
  fill(row.numbers.p50, delayText(span.p50_seconds));
  fill(row.numbers.p95, delayText(span.p95_seconds));
  fill(row.numbers.p99, delayText(span.p99_seconds));
  const lossOf = m.packets_sent ? m : five;
  const loss = shareText(lossOf.packets_lost, lossOf.packets_sent);
  fill(row.numbers.loss, loss, [direction(lossOf.packets_lost_up, lossOf.packets_sent, "↑"), direction(lossOf.packets_lost_down, lossOf.packets_sent, "↓")].filter(Boolean).join("  "));
  row.numbers.loss.value.classList.toggle("hot", lossOf.packets_lost / lossOf.packets_sent >= 0.01);
  fill(row.numbers.interruption, delayText(five.interruption_max_seconds));
  const down = rateText(last.goodput_down_bytes_per_second), up = rateText(last.goodput_up_bytes_per_second);
  fill(row.numbers.throughput, down ? ["↓ " + down[0], down[1]] : up ? ["↑ " + up[0], up[1]] : null, down && up ? "↑ " + up.join(" ") : "");
  parts(row.state, JSON.stringify([p.outcome, p.error, p.quality]), () => stateParts(p));
  row.state.classList.toggle("speaks", p.outcome !== "ok" || (p.quality || []).length > 0);
  drawRow(row, p, events);
}

function isGoodput(p) { return !p.metric && (p.values.goodput_down_bytes_per_second != null || p.values.goodput_up_bytes_per_second != null); }

function drawRow(row, p, events) {
  const h = p.history;
  const goodput = isGoodput(p);
  const columns = goodput ? [h.goodput_down_bytes_per_second, h.goodput_up_bytes_per_second] : [h.p50_seconds];
  const any = h.at_unix_seconds && columns.some(c => c.some(v => v != null));
  row.svg.toggleAttribute("hidden", !any);
  row.topLabel.hidden = !any;
  row.nothing.hidden = any;
  if (!any) return;
  const top = goodput ? drawGoodput(row.svg, h, view) : drawDelay(row.svg, h, events, view);
  setText(row.topLabel, round(goodput ? rateText(top) : delayText(top)));
  const what = goodput ? "throughput" : p.metric || "delay";
  row.svg.setAttribute("aria-label", `${what} of ${p.name} over the last minutes; now ${goodput ? plain(rateText(p.values.goodput_down_bytes_per_second)) : "p50 " + plain(delayText(p.minute.p50_seconds))}`);
}

function updateGroup(body, agent, now) {
  setText(body.name, agent.name);
  const age = (now - Date.parse(agent.measured)) / 1000;
  setText(body.seen, agent.silent ? "silent, last result " + agoText(age) : agoText(age));
  body.seen.classList.toggle("late", Boolean(agent.silent));
  parts(body.tags, JSON.stringify(agent.labels), () => Object.keys(agent.labels || {}).sort().map(k => {
    const tag = element("span", "tag");
    tag.append(element("b", "", k + " "), agent.labels[k]);
    return tag;
  }));
  parts(body.radio, JSON.stringify(agent.radio), () => agent.radio ? radioParts(agent.radio) : []);
  const wanted = new Set();
  // What has a delay comes first, what has packets before that.
  const rank = p => isGoodput(p) ? 2 : p.metric === "rtt" ? 0 : 1;
  agent.probes.sort((a, b) => rank(a) - rank(b)).forEach((p, i) => {
    const key = [p.name, p.kind, p.target].join("\n");
    wanted.add(key);
    if (!body.shown.has(key)) body.shown.set(key, makeProbe());
    const row = body.shown.get(key);
    if (body.children[i + 1] !== row) body.insertBefore(row, body.children[i + 1] || null);
    updateProbe(row, p, agent.events || []);
  });
  for (const [key, row] of body.shown) if (!wanted.has(key)) { row.remove(); body.shown.delete(key); }
}

function span(fleet) {
  const end = Date.parse(fleet.now) / 1000;
  let oldest = end - 60;
  for (const a of fleet.agents) for (const p of a.probes) if (p.history.at_unix_seconds?.length) oldest = Math.min(oldest, p.history.at_unix_seconds[0]);
  const start = Math.max(oldest, end - LONGEST);
  const minutes = Math.round((end - start) / 60);
  setText(byId("span-text"), minutes <= 1 ? "Last minute" : `Last ${minutes} minutes`);
  return { start, end };
}

function update(fleet) {
  const now = Date.parse(fleet.now), table = byId("fleet");
  view = span(fleet);
  const wanted = new Set();
  fleet.agents.forEach((agent, i) => {
    wanted.add(agent.name);
    if (!groups.has(agent.name)) groups.set(agent.name, makeGroup());
    const body = groups.get(agent.name);
    if (table.tBodies[i] !== body) table.insertBefore(body, table.tBodies[i] || null);
    updateGroup(body, agent, now);
  });
  for (const [name, body] of groups) if (!wanted.has(name)) { body.remove(); groups.delete(name); }
  const searching = byId("search").value !== "";
  const sum = fleet.summary, shown = fleet.agents.length;
  byId("empty").hidden = sum.agents > 0 || searching;
  table.hidden = byId("legend").hidden = shown === 0;
  byId("search-box").hidden = sum.agents < 4 && !searching;
  byId("more").hidden = shown === sum.agents && !(searching && shown === 0);
  setText(byId("more"), shown === 0 ? "No agent matches." : `${shown} of ${sum.agents} agents are shown: search to narrow them down.`);
  parts(byId("summary"), JSON.stringify(sum), () => [
    [sum.agents, sum.agents === 1 ? "agent" : "agents", ""], [sum.probes, sum.probes === 1 ? "probe" : "probes", ""],
    [sum.silent, "silent", "bad"], [sum.failing, "failing", "bad"], [sum.flagged, "flagged", "warn"],
  ].filter(([n]) => n > 0).map(([n, word, cls]) => {
    const item = element("li", cls);
    item.append(element("b", "", String(n)), " " + word);
    return item;
  }));
  setText(byId("version"), "nrprobe " + fleet.version);
}

function showTip(row, event) {
  const h = row.data.history, i = nearest(row.svg, h, view, event.clientX), tip = byId("tip");
  if (i < 0) return;
  if (hovered && hovered !== row) cursor(hovered.svg, view, null);
  hovered = row;
  cursor(row.svg, view, h.at_unix_seconds[i]);
  const lines = isGoodput(row.data)
    ? [["down", rateText(h.goodput_down_bytes_per_second[i])], ["up", rateText(h.goodput_up_bytes_per_second[i])]]
    : [["p50", delayText(h.p50_seconds[i])], ["p95", delayText(h.p95_seconds[i])], ["p99", delayText(h.p99_seconds[i])],
       ["loss", h.loss_ratio[i] == null ? null : shareText(h.loss_ratio[i], 1)], ["interruption", delayText(h.interruption_seconds[i])]];
  const list = element("dl");
  for (const [word, pair] of lines) if (pair) list.append(element("dt", "", word), element("dd", "", plain(pair)));
  tip.replaceChildren(element("span", "muted", new Date(h.at_unix_seconds[i] * 1000).toLocaleTimeString()), list);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(8, Math.min(innerWidth - box.width - 8, event.clientX + 16)) + "px";
  tip.style.top = Math.max(8, Math.min(innerHeight - box.height - 8, event.clientY + 18)) + "px";
}

function hideTip() {
  byId("tip").hidden = true;
  if (hovered) cursor(hovered.svg, view, null);
  hovered = null;
}

function live(state, text) { byId("live").dataset.state = state; setText(byId("live-text"), text); }

async function poll() {
  try {
    const query = new URLSearchParams({ history: "1", search: byId("search").value });
    const answer = await fetch("/api/nrprobe/fleet?" + query, { signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error("HTTP " + answer.status);
    update(await answer.json());
    answered = Date.now();
    live("ok", "live");
  } catch (problem) {
    const since = answered ? ", last answer " + agoText((Date.now() - answered) / 1000) : "";
    live("lost", "no answer from the collector" + since);
    console.warn(problem);
  }
}

async function run() {
  for (const e of document.querySelectorAll("[data-origin]")) e.textContent = location.origin;
  byId("search").addEventListener("input", poll);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
  for (;;) {
    if (!document.hidden) await poll();
    await new Promise(resolve => setTimeout(resolve, POLL));
  }
}
run();
