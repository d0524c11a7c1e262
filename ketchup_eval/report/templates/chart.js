// A panel as SVG: axes, lines, bands or bars, and the nearest mark to a pointer or to the arrow keys.
// A mark is [x, value, low, high, n], and where x is an estimate too, its two ends.
const MOST_BANDS = 6, MOST_DOTS = 40, REACH = 60, APART = 3, HEIGHT = 290;
const ROOM = { left: 58, right: 12, top: 26, bottom: 40 };

function shape(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const digits = (value, count = 4) => value === null ? "-" : String(Number(value.toPrecision(count)));

function tick(value) {
  const size = Math.abs(value);
  return size && (size < 1e-3 || size >= 1e6) ? value.toExponential(1).replace(".0e", "e") : digits(value);
}

function scale(kind, [low, high], from, to) {
  const by = kind === "linear" ? (value) => value : (value) => Math.log(Math.max(value, 1e-300));
  const start = by(low), span = by(high) - start || 1;
  return (value) => from + (by(value) - start) / span * (to - from);
}

function ticks(kind, [low, high], whole) {
  if (kind === "linear") {
    const unit = 10 ** Math.floor(Math.log10((high - low) / 5 || 1));
    let step = [1, 2, 5, 10].map((factor) => factor * unit).find((size) => size >= (high - low) / 5) || unit;
    if (whole) step = Math.max(1, Math.round(step));
    const first = Math.ceil(low / step - 1e-9);
    return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, at) => (first + at) * step);
  }
  const base = kind === "doubling" ? 2 : 10, found = [];
  const decades = Math.log10(high / low);
  for (let power = Math.floor(Math.log(low) / Math.log(base)); base ** power <= high; power += 1) {
    for (const factor of base === 10 && decades < 2.5 ? [1, 2, 5] : [1]) found.push(factor * base ** power);
  }
  return found.filter((value) => value >= low && value <= high);
}

function extent(values, kind, limits = [null, null]) {
  const known = values.filter((value) => value !== null && (kind === "linear" || value > 0));
  let low = Math.min(...known), high = Math.max(...known);
  if (!known.length) [low, high] = [kind === "linear" ? 0 : 1, 2];
  if (low === high) [low, high] = kind === "linear" ? [low - 1, high + 1] : [low / 2, high * 2];
  const room = kind === "linear" ? 0.04 * (high - low) : (high / low) ** 0.04;
  [low, high] = kind === "linear" ? [low - room, high + room] : [low / room, high * room];
  return [limits[0] === null ? low : limits[0], limits[1] === null ? high : limits[1]];
}

const dot = (series, x, y) => series.square
  ? `M${x - 3.2} ${y - 3.2}h6.4v6.4h-6.4z` : `M${x - 3.4} ${y}a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0 -6.8 0`;
const colour = (series) => series.dull ? "var(--dim)" : `var(--c${series.colour % 10})`;
const dashes = (series) => series.dashed || series.colour >= 10 ? "6 4" : "none";
const joined = (points) => points.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

// The series that a choice of seed shows: "mean" has that of several seeds, or the only one.
function chosen(panel, seed) {
  const averaged = new Set(panel.series.filter((one) => one.seed === null).map((one) => one.label));
  if (seed === "mean") return panel.series.filter((one) => one.seed === null || !averaged.has(one.label));
  return panel.series.filter((one) => one.seed !== null && (seed === "all" || String(one.seed) === seed));
}

function axes(svg, panel, right, across, up, xs, ys) {
  const bottom = HEIGHT - ROOM.bottom;
  const marked = panel.ticks.length ? panel.ticks : ticks(panel.x_scale, xs, panel.x_scale === "linear");
  for (const value of marked) {
    const x = across(value);
    svg.append(shape("path", { d: `M${x} ${ROOM.top}V${bottom}`, class: "grid" }));
    svg.append(shape("text", { x, y: bottom + 14, "text-anchor": "middle" }, tick(value)));
  }
  for (const value of ticks(panel.y_scale, ys)) {
    const y = up(value);
    svg.append(shape("path", { d: `M${ROOM.left} ${y}H${right}`, class: "grid" }));
    svg.append(shape("text", { x: ROOM.left - 5, y: y + 4, "text-anchor": "end" }, tick(value)));
  }
  svg.append(shape("path", { d: `M${ROOM.left} ${ROOM.top}V${bottom}H${right}`, class: "frame" }));
  const middle = (ROOM.top + bottom) / 2;
  svg.append(shape("text", { x: ROOM.left, y: 14, class: "title" }, panel.title));
  svg.append(shape("text", { x: (ROOM.left + right) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, panel.x));
  svg.append(shape("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, panel.y));
}

// The intervals of a line: a band, bars or, where there are many lines, the last as a bar, beside those of the others.
function spread(panel, series, points, count, index) {
  const known = points.filter((point) => point.low !== null && point.high !== null);
  if (!panel.bars && count <= MOST_BANDS) {
    const edge = known.map((point) => [point.x, point.low]).concat(known.map((point) => [point.x, point.high]).reverse());
    return shape("path", { d: edge.length ? `${joined(edge)}z` : "", fill: colour(series), opacity: 0.14 });
  }
  const aside = panel.bars ? 0 : 5 + APART * index;
  const bars = (panel.bars ? known : known.slice(-1)).map((point) => `M${point.x + aside} ${point.low}V${point.high}`);
  for (const point of points) if (point.left !== undefined) bars.push(`M${point.left} ${point.y}H${point.right}`);
  return shape("path", { d: bars.join(""), stroke: colour(series), fill: "none", "stroke-width": 1.2, opacity: 0.8 });
}

// Draws the panel into its box; returns its marks with their places.
function draw(box, panel, seed, hidden, number) {
  const width = Math.max(260, box.clientWidth), bottom = HEIGHT - ROOM.bottom, right = width - ROOM.right;
  const series = chosen(panel, seed).filter((one) => !hidden.has(one.label));
  const end = right - (!panel.bars && series.length > MOST_BANDS ? APART * series.length + 5 : 0);
  const marks = panel.series.flatMap((one) => one.marks);
  const xs = extent(marks.flatMap((mark) => [mark[0], ...mark.slice(5)]).concat(panel.ticks), panel.x_scale);
  const ys = extent(marks.flatMap((mark) => mark.slice(1, 4)), panel.y_scale, panel.limits);
  const across = scale(panel.x_scale, xs, ROOM.left, end), up = scale(panel.y_scale, ys, bottom, ROOM.top);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, tabindex: 0, role: "group" });
  axes(svg, panel, right, across, up, xs, ys);
  // Intervals end at the frame; a mark that stands on it is whole.
  const [within, inside] = [0, 5].map((beyond) => {
    const clip = shape("clipPath", { id: `clip-${number}-${beyond}` }), group = shape("g", { "clip-path": `url(#${clip.id})` });
    const size = { width: right - ROOM.left + 2 * beyond, height: bottom - ROOM.top + 2 * beyond };
    clip.append(shape("rect", { x: ROOM.left - beyond, y: ROOM.top - beyond, ...size }));
    svg.append(clip, group);
    return group;
  });
  const points = [];
  series.forEach((one, index) => {
    const aside = panel.bars && panel.ticks.length ? (index - (series.length - 1) / 2) * 3 : 0;
    const mine = one.marks.map((mark) => ({
      series: one, mark, x: across(mark[0]) + aside, y: up(mark[1]),
      low: mark[2] === null ? null : up(mark[2]), high: mark[3] === null ? null : up(mark[3]),
      ...(mark.length > 5 && mark[5] !== null && mark[6] !== null ? { left: across(mark[5]), right: across(mark[6]) } : {}),
    }));
    within.append(spread(panel, one, mine, series.length, index));
    const line = { stroke: colour(one), fill: "none", "stroke-width": seed === "all" ? 1.1 : 1.8, "stroke-dasharray": dashes(one) };
    inside.append(shape("path", { d: joined(mine.map((point) => [point.x, point.y])), ...line }));
    if (mine.length <= MOST_DOTS) {
      inside.append(shape("path", { d: mine.map((point) => dot(one, point.x, point.y)).join(""), fill: colour(one), class: "dots" }));
    }
    points.push(...mine);
  });
  const cursor = shape("circle", { r: 6, fill: "none", stroke: "var(--ink)", "stroke-width": 1.5, visibility: "hidden" });
  inside.append(cursor);
  svg.setAttribute("aria-label", `${panel.title}: ${panel.y} by ${panel.x}, ${series.length} lines. `
    + "Arrow keys go from number to number, Enter says where one comes from.");
  box.replaceChildren(svg);
  return { svg, points, cursor };
}

function told(panel, point) {
  const [x, value, low, high, n] = point.mark, seed = point.series.seed;
  const lines = [point.series.label + (seed === null ? "" : `, seed ${seed}`), `${panel.x}: ${digits(x, 6)}`];
  lines.push(`${panel.y}: ${digits(value, 6)}`);
  if (low !== null && high !== null) lines.push(`95% interval ${digits(low, 6)} to ${digits(high, 6)}`);
  return [...lines, `n = ${n}`];
}
