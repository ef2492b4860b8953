"use strict";
// A click on a column's head sorts its table; rows that span columns are put back by whoever made
// them, when they are told that the table is sorted.
document.querySelectorAll("th[scope=col]").forEach((head) => {
  const button = document.createElement("button");
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    head.parentNode.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const table = head.closest("table");
    const text = (row) => row.cells[head.cellIndex].textContent.trim();
    // What does not begin with a number stands last, in whatever order.
    const order = (a, b) => {
      const [x, y] = [parseFloat(text(a)), parseFloat(text(b))];
      if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1;
      const less = isNaN(x) ? text(a).localeCompare(text(b), "en", { numeric: true }) : x - y;
      return up ? less : -less;
    };
    const rows = [...table.tBodies[0].rows].filter((row) => row.cells.length > head.cellIndex);
    table.tBodies[0].append(...rows.sort(order));
    table.dispatchEvent(new Event("sorted"));
  });
});
