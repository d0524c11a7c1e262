const tip = byId("tip"), box = byId("result");
const commands = new Map(data.study.commands.map((row) => [row.name, row]));

// What a reload must not forget; a browser may keep nothing for a file.
function kept(name, value) {
  try {
    if (value === undefined) return sessionStorage.getItem(name);
    sessionStorage.setItem(name, value);
  } catch { /* then it is forgotten */ }
  return value === undefined ? null : value;
}

function point(lines, x, y) {
  tip.textContent = lines.join("\n");
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - width - 6))}px`;
  tip.style.top = `${y + 14 + height < innerHeight ? y + 14 : Math.max(4, y - height - 10)}px`;
}
const unpoint = () => { tip.hidden = true; };

// Where a number comes from

function way(text, target) {
  const made = element("a", text);
  made.href = target;
  return made;
}

function source(name, open) {
  const row = commands.get(name), manifest = data.manifests[name];
  const made = element("details", undefined, "source");
  made.open = open;
  made.append(element("summary", row ? `${name} (${row.state}${row.seconds === null ? "" : `, ${row.seconds} s`})` : name));
  if (!row) { made.append(element("p", "This is no result of the plan.", "dim")); return made; }
  const folder = encodeURIComponent(name), ways = element("p");
  if (manifest) ways.append(way("run", `${folder}/`), " · ", way("manifest", `${folder}/manifest.json`), " · ");
  if (row.log) ways.append(way("log", `logs/${folder}.log`));
  made.append(element("code", row.command, "command"), ways);
  if (manifest) {
    const shown = element("details", undefined, "manifest");
    shown.append(element("summary", "manifest"), element("pre", JSON.stringify(manifest, null, 1), "json"));
    made.append(shown);
  }
  return made;
}

function open(lines, sources) {
  const close = element("button", "Close", "close"), heading = element("h2", lines[0]);
  close.addEventListener("click", () => box.close());
  heading.id = "about";
  box.replaceChildren(close, heading);
  if (lines.length > 1) box.append(element("pre", lines.slice(1).join("\n")));
  for (const name of new Set(sources)) box.append(source(name, sources.length === 1));
  unpoint();
  if (!box.open) box.showModal();
}

function followed() {
  if (!location.hash.startsWith("#result/")) return;
  let name = location.hash.slice("#result/".length);
  try { name = decodeURIComponent(name); } catch { /* an address that somebody typed */ }
  if (commands.has(name)) open([name], [name]);
}
addEventListener("hashchange", followed);
box.addEventListener("close", () => { if (location.hash.startsWith("#result/")) history.replaceState(null, "", "#"); });
box.addEventListener("click", (event) => { if (event.target === box) box.close(); });

const numbered = (event) => event.target.closest && event.target.closest(".number");
const linesOf = (button) => button.dataset.lines.split("\n");
for (const kind of ["pointerover", "focusin"]) {
  document.addEventListener(kind, (event) => {
    const button = numbered(event);
    if (!button) return;
    const place = button.getBoundingClientRect();
    point([...linesOf(button), "click for where it comes from"], place.left, place.bottom);
  });
}
for (const kind of ["pointerout", "focusout"]) {
  document.addEventListener(kind, (event) => { if (numbered(event)) unpoint(); });
}
document.addEventListener("click", (event) => {
  const button = numbered(event);
  if (button) open(linesOf(button), JSON.parse(button.dataset.sources));
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") unpoint(); });

// Figures

const MOST_IN_A_ROW = 4, figures = [];
let seed = "mean";

function watch(panel, drawn) {
  const { svg, points, cursor } = drawn;
  let at = -1;
  const go = (to) => {
    at = to;
    const found = points[at], place = svg.getBoundingClientRect();
    cursor.setAttribute("visibility", found ? "visible" : "hidden");
    if (!found) { unpoint(); return; }
    cursor.setAttribute("cx", found.x);
    cursor.setAttribute("cy", found.y);
    const zoom = place.width / svg.viewBox.baseVal.width;
    point([...told(panel, found), "click for where it comes from"], place.left + found.x * zoom, place.top + found.y);
  };
  const nearest = (event) => {
    const place = svg.getBoundingClientRect(), zoom = place.width / svg.viewBox.baseVal.width;
    const x = (event.clientX - place.left) / zoom, y = event.clientY - place.top;
    let best = -1, least = REACH ** 2;
    points.forEach((one, index) => {
      const far = (one.x - x) ** 2 + (one.y - y) ** 2;
      if (far < least) [best, least] = [index, far];
    });
    return best;
  };
  const tell = () => { if (points[at]) open(told(panel, points[at]), points[at].series.sources); };
  const along = (by) => {
    const same = points.map((one, index) => index).filter((index) => points[index].series === points[Math.max(at, 0)].series);
    return same[Math.max(0, Math.min(same.length - 1, same.indexOf(at) + by))];
  };
  const beside = (by) => {
    const lines = [...new Set(points.map((one) => one.series))], here = points[Math.max(at, 0)];
    const other = lines[(lines.indexOf(here.series) + by + lines.length) % lines.length];
    const mine = points.map((one, index) => index).filter((index) => points[index].series === other);
    return mine.find((index) => points[index].mark[0] >= here.mark[0]) ?? mine[mine.length - 1];
  };
  svg.addEventListener("pointermove", (event) => go(nearest(event)));
  svg.addEventListener("pointerleave", () => go(-1));
  svg.addEventListener("blur", () => go(-1));
  svg.addEventListener("click", (event) => { go(nearest(event)); tell(); });
  svg.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: () => along(1), ArrowLeft: () => along(-1), ArrowUp: () => beside(-1), ArrowDown: () => beside(1) };
    if (event.key === "Enter") { event.preventDefault(); tell(); } // else the dialog's own button would take it
    else if (event.key in moves && points.length) { event.preventDefault(); go(moves[event.key]()); }
  });
}

function drawAll() {
  let number = 0;
  for (const one of figures) {
    for (const [place, panel] of one.panels) {
      const learning = panel.series.some((series) => series.seed !== null);
      watch(panel, draw(place, panel, learning ? seed : "mean", one.hidden, number += 1));
    }
  }
}

function seeds(figure) {
  const found = [...new Set(figure.panels.flatMap((panel) => panel.series.map((one) => one.seed)))].filter((one) => one !== null);
  if (found.length < 2) return null;
  const choice = element("fieldset");
  choice.append(element("legend", "Seeds"));
  for (const [value, text] of [["mean", "mean"], ["all", "all"], ...found.sort((a, b) => a - b).map((one) => [String(one), String(one)])]) {
    const label = element("label"), radio = element("input");
    Object.assign(radio, { type: "radio", name: `seed-${figure.name}`, value, checked: value === seed });
    radio.addEventListener("change", () => {
      seed = kept("seed", value);
      for (const other of document.querySelectorAll("fieldset input")) other.checked = other.value === seed;
      drawAll();
    });
    label.append(radio, element("span", text));
    choice.append(label);
  }
  return choice;
}

function legend(figure, hidden) {
  const made = element("div", undefined, "legend"), known = new Map();
  for (const panel of figure.panels) for (const one of panel.series) if (!one.dull && !known.has(one.label)) known.set(one.label, one);
  for (const [text, one] of known) {
    const label = element("label"), shown = element("input"), sample = shape("svg", { viewBox: "0 0 24 10" });
    Object.assign(shown, { type: "checkbox", checked: true });
    shown.addEventListener("change", () => { hidden[shown.checked ? "delete" : "add"](text); drawAll(); });
    sample.append(shape("path", { d: "M0 5H24", stroke: colour(one), "stroke-width": 2, "stroke-dasharray": dashes(one) }));
    sample.append(shape("path", { d: dot(one, 12, 5), fill: colour(one) }));
    label.append(shown, sample, element("span", text));
    made.append(label);
  }
  return made;
}

const known = new Set(data.figures.flatMap((one) => one.panels.flatMap((panel) => panel.series.map((series) => String(series.seed)))));
if (["all", ...known].includes(kept("seed"))) seed = kept("seed");
for (const place of document.querySelectorAll(".figure")) {
  const figure = data.figures.find((one) => one.name === place.dataset.figure), hidden = new Set();
  const choice = seeds(figure), panels = element("div", undefined, "panels");
  // What belongs together stands in one row, as variance beside bias, or all students on a task.
  if (figure.columns <= MOST_IN_A_ROW) panels.classList.add("rows");
  panels.style.setProperty("--columns", figure.columns);
  if (choice) place.append(choice);
  place.append(legend(figure, hidden), panels);
  figures.push({ hidden, panels: figure.panels.map((panel) => [panels.appendChild(element("div", undefined, "panel")), panel]) });
}
drawAll();
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawAll(); } });

// The page itself

byId("search").addEventListener("input", (event) => {
  const text = event.target.value.toLowerCase();
  for (const row of document.querySelectorAll("#commands tbody tr")) row.hidden = !row.textContent.toLowerCase().includes(text);
});

let timer = null;
function reloads(on) {
  clearTimeout(timer);
  if (on) timer = setTimeout(() => { if (box.open) reloads(true); else location.reload(); }, 30000);
}
byId("reload").checked = kept("reload") === "yes";
byId("reload").addEventListener("change", (event) => { kept("reload", event.target.checked ? "yes" : "no"); reloads(event.target.checked); });
reloads(byId("reload").checked);
followed();
