// Charts of the last minutes. An SVG stretches over its cell in both directions, so all text stands outside of it.
"use strict";

const W = 600, H = 120;         // user units of every chart
const TOP = 20, PLOT = 96;      // the scale's ends; above it stands its label, below it are the losses
const LOSS_TOP = 101;
const SVG = "http://www.w3.org/2000/svg";

function svgElement(name, attributes) {
  const e = document.createElementNS(SVG, name);
  for (const key in attributes) e.setAttribute(key, attributes[key]);
  return e;
}

// niceCeil is the next 1, 1.5, 2, 3, 4, 5, 6 or 8 times a power of ten.
function niceCeil(v) {
  if (!(v > 0)) return 1;
  const power = Math.pow(10, Math.floor(Math.log10(v)));
  for (const m of [1, 1.5, 2, 3, 4, 5, 6, 8, 10]) if (v <= m * power * 1.0001) return m * power;
  return 10 * power;
}

// quantileOf is a nearest-rank quantile of a list of numbers.
function quantileOf(list, q) {
  const sorted = list.filter(v => v != null).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] : 0;
}

// runs cuts columns into stretches without a gap, so that no line is drawn where nothing was measured.
function runs(at, column, longest) {
  const out = [];
  let run = null, last = 0;
  column.forEach((v, i) => {
    if (v == null) return;
    if (!run || at[i] - last > longest) { run = []; out.push(run); }
    run.push(i);
    last = at[i];
  });
  return out;
}

// spacing is how far apart points usually are, in seconds.
function spacing(at, column) {
  const gaps = [];
  let last = null;
  column.forEach((v, i) => { if (v != null) { if (last != null) gaps.push(at[i] - last); last = at[i]; } });
  return quantileOf(gaps, 0.5) || 5;
}

// scaleOf maps the columns to user units. view is {start, end} in unix seconds.
function scaleOf(view, top) {
  return {
    x: t => W * (t - view.start) / (view.end - view.start),
    y: v => PLOT - (PLOT - TOP) * Math.min(v / top, 1.12),
  };
}

function pathOf(points) {
  return points.map((p, i) => (i ? "L" : "M") + p[0].toFixed(1) + " " + p[1].toFixed(2)).join("");
}

// line draws a column; a lonely point becomes a short dash, or it would not be seen.
function line(svg, cls, h, column, scale, longest) {
  const d = runs(h.at_unix_seconds, column, longest).map(run => {
    const points = run.map(i => [scale.x(h.at_unix_seconds[i]), scale.y(column[i])]);
    if (points.length === 1) points.push([points[0][0] + 3, points[0][1]]);
    return pathOf(points);
  }).join("");
  svg.append(svgElement("path", { class: cls, d }));
}

// area fills between two columns, or between one and the bottom.
function area(svg, cls, h, low, high, scale, longest) {
  const d = runs(h.at_unix_seconds, high, longest).map(run => {
    const x = i => scale.x(h.at_unix_seconds[i]);
    const upper = run.map(i => [x(i), scale.y(high[i])]);
    const lower = run.map(i => [x(i), low ? scale.y(low[i] ?? high[i]) : PLOT]).reverse();
    return pathOf(upper.concat(lower)) + "Z";
  }).join("");
  svg.append(svgElement("path", { class: cls, d }));
}

function frame(svg) {
  svg.replaceChildren();
  for (const y of [TOP, (TOP + PLOT) / 2, PLOT]) svg.append(svgElement("line", { class: "grid", x1: 0, x2: W, y1: y, y2: y }));
}

// drawDelay draws p50, the band up to p95, p99, losses and handovers. It returns the value at the top, in seconds.
function drawDelay(svg, h, events, view) {
  frame(svg);
  // A single outlier of p99 must not flatten the rest: the curve may leave at the top.
  const top = niceCeil(Math.max(1.15 * quantileOf(h.p95_seconds, 0.98), 1.05 * quantileOf(h.p99_seconds, 0.9)));
  const scale = scaleOf(view, top), longest = 3.5 * spacing(h.at_unix_seconds, h.p50_seconds);
  for (const e of events) {
    const t = Date.parse(e.time) / 1000;
    if (e.type !== "handover" || t < view.start) continue;
    svg.append(svgElement("line", { class: "handover", x1: scale.x(t), x2: scale.x(t), y1: TOP, y2: PLOT }));
  }
  area(svg, "band", h, h.p50_seconds, h.p95_seconds, scale, longest);
  line(svg, "p99", h, h.p99_seconds, scale, longest);
  line(svg, "p50", h, h.p50_seconds, scale, longest);
  h.loss_ratio.forEach((loss, i) => {
    if (!(loss > 0)) return;
    const x = scale.x(h.at_unix_seconds[i]);
    const height = Math.max(4, (H - LOSS_TOP) * Math.min(1, Math.sqrt(loss / 0.05)));
    svg.append(svgElement("line", { class: "loss", x1: x, x2: x, y1: H, y2: H - height }));
  });
  return top;
}

// drawGoodput draws both directions as areas. It returns the value at the top, in bytes per second.
function drawGoodput(svg, h, view) {
  frame(svg);
  const down = h.goodput_down_bytes_per_second, up = h.goodput_up_bytes_per_second;
  const top = niceCeil(8 * Math.max(quantileOf(down, 1), quantileOf(up, 1))) / 8;
  const scale = scaleOf(view, top);
  for (const [column, name] of [[down, "down"], [up, "up"]]) {
    const longest = 3.5 * spacing(h.at_unix_seconds, column);
    area(svg, name + "fill", h, null, column, scale, longest);
    line(svg, name, h, column, scale, longest);
  }
  return top;
}

// nearest is the index of the column entry closest to a pointer, or -1 where nothing is near.
function nearest(svg, h, view, clientX) {
  const box = svg.getBoundingClientRect();
  const t = view.start + (view.end - view.start) * (clientX - box.left) / box.width;
  let best = -1;
  h.at_unix_seconds.forEach((at, i) => {
    if (best < 0 || Math.abs(at - t) < Math.abs(h.at_unix_seconds[best] - t)) best = i;
  });
  return best;
}

// cursor marks a moment in a chart; without one it removes the mark.
function cursor(svg, view, at) {
  svg.querySelector(".cursor")?.remove();
  if (at == null) return;
  const x = scaleOf(view, 1).x(at);
  svg.append(svgElement("line", { class: "cursor", x1: x, x2: x, y1: 0, y2: H }));
}
