// The trials of a study: chosen and grouped by settings, drawn, linked with their rows, and saved.
(() => {
  const host = document.getElementById("trials");
  if (!host) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const table = host.querySelector("table");
  const rows = [...table.tBodies[0].rows];
  const column = (name) => data.varying.indexOf(name);
  const value = (i, name) =>
    Object.hasOwn(data.constant, name) ? data.constant[name] : data.rows[i][column(name)];
  const chosen = new Map(); // of settings, the value that is shown alone
  let near = null;
  let picked = null;
  let drawn = new Map();
  rows.forEach((row, i) => (row.dataset.i = i));
  const sections = [...document.querySelectorAll("details.trial")];
  const labels = sections.map((section) => section.querySelector("b").textContent);

  const controls = make("div", { class: "controls" });
  const plot = make("div", { class: "plot" });
  const legend = make("ul", { class: "legend" });
  const tip = make("div", { class: "tip", hidden: "" });
  const count = make("p", { role: "status" });
  const stage = make("div", { class: "stage" }, plot, tip);

  function choice(label, options, act, now) {
    const select = make("select");
    options.forEach(([name, text]) => select.append(make("option", { value: name }, text)));
    if (now !== undefined) select.value = now;
    select.addEventListener("change", () => act(select));
    controls.append(make("label", {}, `${label} `, select));
    return select;
  }

  // What can be drawn: settings across, numbers up; marks told apart by a setting.
  const distinct = (name) => [...new Set(rows.map((_, i) => value(i, name)))];
  const numeric = (name) => distinct(name).every((one) => typeof one === "number");
  const settings = data.settings;
  const measured = data.numbers.filter((name) => !settings.includes(name));
  const filled = measured.filter((name) => distinct(name).some((one) => one !== null));
  const across = settings.find((name) => numeric(name) && name !== "seed") || settings[0] || "seconds";
  // What follows from the setting across, as steps from dt at one time, would tell nothing apart.
  const pairs = (name) => new Set(rows.map((_, i) => JSON.stringify([value(i, across), value(i, name)])));
  const follows = (name) => pairs(name).size === distinct(across).length;
  const apart = settings
    .filter((name) => ![across, "seed"].includes(name) && distinct(name).length <= GROUPS)
    .filter((name) => !follows(name))
    .sort((a, b) => distinct(b).length - distinct(a).length)[0];
  // Where targets are numbers there is no accuracy: the error then.
  const score = ["test_accuracy", "test_loss"].find((name) => filled.includes(name));
  const up = score || filled[0];
  const named = (names) => names.map((name) => [name, words(name)]);
  const xs = choice("across", named([...new Set([across, ...settings, ...filled])]), show, across);
  const ys = choice("up", named(filled), show, up);
  const by = choice("group by", [["", "nothing"], ...named(settings)], show, apart || "");
  for (const name of settings) {
    const values = distinct(name);
    if (values.length > 60) continue;
    choice(`only ${words(name)}`, [["", "all"], ...values.map((one, n) => [n, said(one)])], (select) => {
      select.value ? chosen.set(name, values[Number(select.value)]) : chosen.delete(name);
      show();
    });
  }
  const button = make("button", { type: "button" }, "Save as CSV");
  button.addEventListener("click", save);
  controls.append(button);
  host.before(controls, stage, legend, count);

  const shown = (i) => [...chosen].every(([name, one]) => value(i, name) === one);

  function describe(i) {
    const parts = [labels[i], `${words(ys.value)} ${said(value(i, ys.value))}`];
    return `${parts.join(": ")}, ${value(i, "status")}`;
  }

  function show() {
    const groups = by.value ? distinct(by.value) : [null];
    if (by.value && numeric(by.value)) groups.sort((a, b) => a - b);
    const group = (i) => (by.value ? groups.indexOf(value(i, by.value)) : 0);
    const here = rows.map((_, i) => i).filter(shown);
    const marks = here
      .filter((i) => ![xs.value, ys.value].some((name) => value(i, name) === null))
      .map((i) => ({
        ...{ i, group: group(i), text: describe(i), broken: value(i, "status") !== "finished" },
        ...{ x: value(i, xs.value), y: value(i, ys.value) },
      }));
    const name = xs.value === "dt" ? "dt (same unit as tau)" : words(xs.value);
    const unit = ys.value.endsWith("accuracy") ? " (%)" : ys.value === "seconds" ? " (s)" : "";
    const lines = settings.includes(xs.value);
    const labels = { x: name, y: words(ys.value) + unit, lines, log: !ys.value.endsWith("accuracy") };
    drawn = marks.length ? scatter(plot, marks, labels, groups) : new Map();
    if (!marks.length) plot.replaceChildren(make("p", {}, "Nothing to draw of these trials."));
    plot.prepend(make("p", { class: "label" }, labels.y));
    legend.replaceChildren(...(by.value ? groups.map((one, g) => sign(one, g)) : []));
    if (marks.some((mark) => mark.broken)) {
      legend.append(make("li", {}, picture(CROSS(4), "mark broken"), "not finished"));
    }
    if (lines && marks.length) legend.append(make("li", {}, "lines: means of finished trials"));
    arrange(groups, group);
    count.textContent = `${here.length} of ${rows.length} trials shown, ${marks.length} of them drawn.`;
    mark();
  }

  function picture(shape, kind) {
    const svg = make("svg", { viewBox: "-7 -7 14 14", width: 14, height: 14, "aria-hidden": "true" });
    svg.append(make("path", { class: kind, d: shape }));
    return svg;
  }

  function sign(one, g) {
    const kind = `mark g${g % GROUPS}`;
    return make("li", {}, picture(SHAPES[g % GROUPS](4), kind), `${words(by.value)} ${said(one)}`);
  }

  // Rows as they are sorted, those of a group under a head with what they are on average.
  function arrange(groups, group) {
    const body = table.tBodies[0];
    const order = [...body.rows].filter((row) => row.dataset.i !== undefined);
    for (const row of order) row.hidden = !shown(Number(row.dataset.i));
    body.querySelectorAll(".group").forEach((row) => row.remove());
    if (!by.value) return;
    groups.forEach((one, g) => {
      const mine = order.filter((row) => group(Number(row.dataset.i)) === g);
      const scores = mine
        .filter((row) => !row.hidden && value(Number(row.dataset.i), "status") === "finished")
        .map((row) => value(Number(row.dataset.i), score))
        .filter((score) => typeof score === "number");
      if (mine.some((row) => !row.hidden)) {
        const span = { colspan: table.tHead.rows[0].cells.length, scope: "rowgroup" };
        const text = `${words(by.value)} ${said(one)}: ${average(scores)}`;
        body.append(make("tr", { class: "group" }, make("th", span, make("span", {}, text))));
      }
      body.append(...mine);
    });
  }

  function average(scores) {
    const isError = score === "test_loss";
    if (!scores.length) return `no finished trial with a test ${isError ? "error" : "accuracy"}`;
    const mean = scores.reduce((a, b) => a + b) / scores.length;
    const squares = scores.reduce((sum, one) => sum + (one - mean) ** 2, 0);
    const said = (number) => (isError ? number.toPrecision(3) : number.toFixed(2));
    const spread = scores.length > 1 ? ` ± ${said(Math.sqrt(squares / (scores.length - 1)))}` : "";
    const what = scores.length > 1 ? "mean ± standard deviation of" : "of";
    const name = isError ? "test error" : "test accuracy";
    return `${name} ${said(mean)}${spread}${isError ? "" : " %"}, ${what} ${scores.length} finished`;
  }

  // Row and point of one trial are marked together, whichever of them is pointed at.
  function mark() {
    rows.forEach((row, i) => {
      row.classList.toggle("near", i === near);
      row.classList.toggle("picked", i === picked);
    });
    drawn.forEach((point, i) => {
      point.classList.toggle("near", i === near);
      point.classList.toggle("picked", i === picked);
    });
    for (const i of [picked, near]) if (drawn.has(i)) drawn.get(i).parentNode.append(drawn.get(i));
    const point = drawn.get(near);
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = describe(near);
    const [of, stageOf] = [point.getBoundingClientRect(), stage.getBoundingClientRect()];
    const left = of.left - stageOf.left + 10;
    tip.style.left = `${Math.max(0, Math.min(left, stageOf.width - tip.offsetWidth))}px`;
    tip.style.top = `${of.top - stageOf.top + 16}px`;
  }

  function over(target) {
    const part = target instanceof Element ? target.closest("[data-i]") : null;
    const found = part ? Number(part.dataset.i) : null;
    if (found !== near) {
      near = found;
      mark();
    }
  }

  function open(i, scroll) {
    picked = i;
    sections[i].open = true;
    mark();
    if (scroll) rows[i].scrollIntoView({ block: "nearest" });
  }

  for (const part of [plot, table]) {
    part.addEventListener("mouseover", (event) => over(event.target));
    part.addEventListener("mouseleave", () => over(null));
    part.addEventListener("click", (event) => {
      const at = event.target.closest("[data-i]");
      if (at) open(Number(at.dataset.i), part === plot);
    });
  }
  // By keyboard: arrows go from point to point, and from row to row; Enter opens the trial.
  function walk(event, order) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" && near !== null) open(near, true);
    if (!step || !order.length) return;
    event.preventDefault();
    const at = order.indexOf(near);
    near = order[at < 0 ? 0 : (at + step + order.length) % order.length];
    mark();
    rows[near].scrollIntoView({ block: "nearest" });
  }
  plot.addEventListener("keydown", (event) => walk(event, [...drawn.keys()].sort((a, b) => a - b)));
  host.addEventListener("keydown", (event) => {
    if (event.target.closest("button")) return;
    const order = [...table.tBodies[0].rows].filter((row) => row.dataset.i && !row.hidden);
    if (["ArrowDown", "ArrowUp", "Enter"].includes(event.key)) {
      walk(event, order.map((row) => Number(row.dataset.i)));
    }
  });
  table.addEventListener("sorted", show);

  // All columns with all digits, of the trials that are shown, in their order.
  function csv() {
    const quoted = (one) => {
      const text = one === null || one === undefined ? "" : String(one);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const order = [...table.tBodies[0].rows].filter((row) => row.dataset.i && !row.hidden);
    const lines = order.map((row) =>
      data.columns.map((name) => quoted(value(Number(row.dataset.i), name))).join(","),
    );
    return [data.columns.map(quoted).join(","), ...lines, ""].join("\n");
  }

  function save() {
    const link = make("a", { download: "trials.csv" });
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  sections.forEach((section, i) => {
    section.addEventListener("toggle", () => {
      const place = section.querySelector(".recorded");
      if (section.open && !place.childNodes.length) showTrial(place, i, data);
    });
  });
  let width = plot.clientWidth;
  new ResizeObserver(() => {
    if (plot.clientWidth !== width) {
      width = plot.clientWidth;
      show();
    }
  }).observe(plot);
  show();
})();
