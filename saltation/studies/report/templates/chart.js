// Draws numbers as SVG: marks of trials by group, and small curves. Knows nothing of a study.
const drawing = document.createElement("template");
drawing.innerHTML = "<svg></svg>";
const SVG = drawing.content.firstChild.namespaceURI;

function make(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "text", "title"].includes(name);
  const made = svg
    ? document.createElementNS(SVG, name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Six digits are more than can be seen.
function said(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value);
}

const GROUPS = 8; // as many colours, dashes and shapes as there are in the style sheet
const SHAPES = [
  (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  (r) => `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (r) => `M0 ${-1.25 * r}L${1.2 * r} ${r}H${-1.2 * r}z`,
  (r) => `M0 ${-1.4 * r}L${1.4 * r} 0L0 ${1.4 * r}L${-1.4 * r} 0z`,
  (r) => `M0 ${1.25 * r}L${1.2 * r} ${-r}H${-1.2 * r}z`,
  (r) => `M${-r} ${-r}L${1.2 * r} 0L${-r} ${r}z`,
  (r) => `M${r} ${-r}L${-1.2 * r} 0L${r} ${r}z`,
  (r) => `M${-1.3 * r} ${-r / 2}h${2.6 * r}v${r}h${-2.6 * r}z`,
];
const CROSS = (r) => `M${-r} ${-r}L${r} ${r}M${-r} ${r}L${r} ${-r}`;

// Where values of an axis are, and which of them are written at it. Few values, and words, have
// places of their own in their order.
function scale(values, from, to, asked = {}) {
  const known = [...new Set(values)];
  const numeric = known.every((value) => typeof value === "number");
  known.sort((a, b) => (numeric ? a - b : 0));
  if (!numeric || (asked.places && known.length <= 12)) {
    const step = (to - from) / Math.max(1, known.length);
    const place = new Map(known.map((value, n) => [value, from + step * (n + 0.5)]));
    const ticks = known.map((value) => [place.get(value), said(value)]);
    return { at: (value) => place.get(value), ticks, step: Math.abs(step) };
  }
  let [low, high] = [known[0], known[known.length - 1]];
  const logarithmic = asked.log && low > 0 && high / low > 100;
  if (logarithmic) {
    const at = (value) => from + ((to - from) * Math.log(value / low)) / Math.log(high / low);
    const ticks = [];
    const every = Math.max(1, Math.ceil(Math.log10(high / low) / 5));
    for (let e = Math.ceil(Math.log10(low)); e <= Math.log10(high); e += every) {
      ticks.push([at(10 ** e), `1e${e}`]);
    }
    return { at, ticks, step: 0 };
  }
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const raw = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
  if (known.every(Number.isInteger)) step = Math.max(1, step);
  if (asked.round) [low, high] = [Math.floor(low / step) * step, Math.ceil(high / step) * step];
  const at = (value) => from + ((to - from) * (value - low)) / (high - low);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) {
    const text = said(Number(value.toPrecision(6)));
    ticks.push([at(value), text.length < 8 ? text : value.toExponential(2)]);
  }
  return { at, ticks, step: 0 };
}

function axes(svg, x, y, box, labels) {
  const [left, top, right, bottom] = box;
  for (const [place, text] of y.ticks) {
    svg.append(make("line", { class: "grid", x1: left, x2: right, y1: place, y2: place }));
    svg.append(make("text", { x: left - 6, y: place + 4, "text-anchor": "end" }, text));
  }
  let free = -Infinity;
  for (const [place, text] of [...x.ticks].sort((a, b) => a[0] - b[0])) {
    const half = 3.6 * text.length;
    if (place - half < free) continue; // it would be written over its neighbour
    free = place + half + 4;
    svg.append(make("text", { x: place, y: bottom + 16, "text-anchor": "middle" }, text));
  }
  svg.append(make("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` }));
  const middle = (left + right) / 2;
  svg.append(make("text", { x: middle, y: bottom + 34, "text-anchor": "middle" }, labels.x));
}

// Marks {i, x, y, group, broken, text} with lines through the means of each group; a map from i to
// the elements drawn.
function scatter(host, marks, labels, groups) {
  const width = Math.max(260, host.clientWidth);
  const height = width < 500 ? 260 : 330;
  const box = [58, 10, width - 12, height - 44];
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: 0 });
  svg.setAttribute("aria-label", `${labels.y} against ${labels.x}, a mark per trial`);
  const x = scale(marks.map((mark) => mark.x), box[0], box[2], { places: true, log: true });
  const y = scale(marks.map((mark) => mark.y), box[3], box[1], { round: true, log: labels.log });
  axes(svg, x, y, box, labels);
  const shift = (g) => (groups.length < 2 ? 0 : (g / (groups.length - 1) - 0.5) * x.step * 0.35);
  groups.forEach((_, g) => {
    const sums = new Map();
    for (const mark of marks.filter((one) => one.group === g && !one.broken)) {
      const [sum, count] = sums.get(mark.x) || [0, 0];
      sums.set(mark.x, [sum + mark.y, count + 1]);
    }
    const middles = [...sums].map(([at, [sum, count]]) => [x.at(at) + shift(g), y.at(sum / count)]);
    middles.sort((a, b) => a[0] - b[0]);
    if (labels.lines && middles.length > 1) {
      svg.append(make("path", { class: `curve g${g % GROUPS}`, d: `M${middles.join("L")}` }));
    }
  });
  const drawn = new Map();
  for (const mark of marks) {
    const shape = mark.broken ? CROSS(4) : SHAPES[mark.group % GROUPS](4);
    const place = `translate(${x.at(mark.x) + shift(mark.group)} ${y.at(mark.y)})`;
    const kind = `mark g${mark.group % GROUPS}${mark.broken ? " broken" : ""}`;
    const point = make("path", { class: kind, d: shape, transform: place, "data-i": mark.i });
    point.append(make("title", {}, mark.text));
    svg.append(point);
    drawn.set(mark.i, point);
  }
  host.replaceChildren(svg);
  return drawn;
}

// A small curve of numbers, with its values to be read on every point.
function curve(name, across, xs, ys) {
  const known = xs.map((at, n) => [at, ys[n]]).filter(([, y]) => typeof y === "number");
  const figure = make("figure", { class: "small" });
  const svg = make("svg", { viewBox: "0 0 250 130", role: "img", "aria-label": name });
  const x = scale(known.map(([at]) => at), 62, 240);
  const y = scale(known.map(([, value]) => value), 90, 10, { log: true });
  axes(svg, x, y, [58, 6, 246, 94], { x: across });
  const points = known.map(([at, value]) => [x.at(at), y.at(value)]);
  if (points.length > 1) svg.append(make("path", { class: "curve g0", d: `M${points.join("L")}` }));
  known.forEach(([at, value], n) => {
    const [px, py] = points[n];
    const point = make("path", { class: "mark g0", d: SHAPES[0](points.length > 30 ? 1.5 : 3) });
    point.setAttribute("transform", `translate(${px} ${py})`);
    point.append(make("title", {}, `${name} ${said(value)}, ${across} ${said(at)}`));
    svg.append(point);
  });
  figure.append(make("figcaption", {}, name), svg);
  return figure;
}
