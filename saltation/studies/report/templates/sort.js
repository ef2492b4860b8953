document.querySelectorAll("th[scope=col]").forEach((head) => {
  const button = document.createElement("button");
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    head.parentNode.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    const text = (row) => row.cells[head.cellIndex].textContent.trim();
    // What does not begin with a number stands last, in whatever order.
    const order = (a, b) => {
      const [x, y] = [parseFloat(text(a)), parseFloat(text(b))];
      if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1;
      const less = isNaN(x) ? text(a).localeCompare(text(b), "en", { numeric: true }) : x - y;
      return up ? less : -less;
    };
    body.append(...[...body.rows].sort(order));
  });
});
