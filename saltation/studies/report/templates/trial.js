// What was recorded of one trial: its settings, curves over epochs, layers, and the numbers.
function words(name) {
  return name.replaceAll("_", " ");
}

function grid(heads, rows, name) {
  const table = make("table", {}, make("thead", {}, make("tr")), make("tbody"));
  const cell = (value) => make("td", { class: "number" }, said(value));
  table.tHead.rows[0].append(...heads.map((head) => make("th", { class: "number" }, head)));
  for (const head of table.tHead.rows[0].cells) head.scope = "col";
  table.tBodies[0].append(...rows.map((row) => make("tr", {}, ...row.map(cell))));
  return make("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": name }, table);
}

function showTrial(place, i, data) {
  const [numbers, ...series] = data.epochs[i];
  const known = (values) => values.filter((value) => typeof value === "number");
  const plots = make("div", { class: "figures" });
  if (numbers.length > 1) {
    series.forEach((values, n) => {
      if (new Set(known(values)).size > 1) plots.append(curve(words(data.metrics[n]), "epoch", numbers, values));
    });
  }
  const layers = Object.entries(data.layers[i] || {});
  for (const [name, values] of layers) {
    if (known(values).length < 2) continue;
    plots.append(curve(`${words(name)}, last epoch`, "place", values.map((_, n) => n + 1), values));
  }
  place.append(plots);
  if (!numbers.length) {
    place.append(make("p", {}, "No epoch is recorded."));
    return;
  }
  if (data.every > 1) {
    place.append(make("p", {}, `Every ${data.every}th epoch, back from the last; all are in results.json.`));
  }
  const rows = numbers.map((number, n) => [number, ...series.map((values) => values[n])]);
  place.append(grid(["epoch", ...data.metrics.map(words)], rows, "Epochs of the trial"));
}
