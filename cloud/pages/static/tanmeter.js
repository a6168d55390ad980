// Charts drawn from the tables beside them, and the page's live parts fetched again. Everything else works without this file.
"use strict";
(() => {
  document.documentElement.classList.remove("no-js");
  const REFRESH_MS = 5000;
  const COLOURS = ["#3f6fd8", "#8cb319", "#51506f", "#e8833a", "#0e9aa7", "#a4508b"];
  const charts = new Map();

  // A table as categories and series: the first column names the row, a cell's data-v is its number.
  const read = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...table.tBodies[0].rows];
    const columns = heads.map((cell, index) => index).filter((index) => heads[index].dataset.series);
    return {
      names: rows.map((row) => row.dataset.x),
      series: columns.map((index) => ({
        name: heads[index].dataset.series,
        values: rows.map((row) => (row.cells[index].dataset.v ? Number(row.cells[index].dataset.v) : null)),
        marks: rows.map((row) => row.cells[index].dataset.mark),
      })),
      links: rows.map((row) => row.dataset.href),
    };
  };

  const options = (box, data) => {
    const bars = box.dataset.kind === "bar";
    return {
      animation: false,
      color: COLOURS,
      grid: { left: 8, right: 12, top: 40, bottom: 4, containLabel: true },
      legend: { top: 0, left: "auto", right: 8, type: "scroll", textStyle: { color: "#16222e", fontSize: 13 } },
      tooltip: {
        trigger: "axis", renderMode: "richText", confine: true,
        valueFormatter: (value) => (value === null || value === undefined ? "–" : value + " " + box.dataset.unit),
      },
      xAxis: { type: "category", data: data.names, axisLabel: { color: "#4d5c6b", hideOverlap: true } },
      yAxis: { type: "value", name: box.dataset.unit, nameTextStyle: { color: "#4d5c6b", align: "left" }, axisLabel: { color: "#4d5c6b" } },
      series: data.series.map((series) => ({
        name: series.name,
        type: bars ? "bar" : "line",
        stack: bars ? "sum" : undefined,
        showSymbol: false,
        connectNulls: false,
        lineStyle: { width: 2 },
        barMaxWidth: 28,
        cursor: data.links.some(Boolean) ? "pointer" : "default",
        data: series.values.map((value, index) =>
          bars && series.marks[index] ? { value, itemStyle: { opacity: 0.55, borderColor: "#16222e", borderType: "dashed", borderWidth: 1 } } : value),
      })),
    };
  };

  const draw = () => {
    for (const box of document.querySelectorAll(".chart")) {
      const table = document.getElementById(box.dataset.table);
      if (!table || !window.echarts) continue;
      const data = read(table);
      if (!charts.has(box)) {
        const chart = window.echarts.init(box);
        chart.on("click", (event) => { const href = read(document.getElementById(box.dataset.table)).links[event.dataIndex]; if (href) location.href = href; });
        charts.set(box, chart);
      }
      charts.get(box).setOption(options(box, data));
    }
  };

  const state = (kind) => {
    for (const badge of document.querySelectorAll("[data-live-state]")) {
      badge.textContent = badge.dataset[kind];
      badge.className = "badge " + (kind === "ok" ? "good" : "warn");
      badge.hidden = false;
    }
  };

  // The same page again; its live parts take the place of ours, so that there is one way to write a figure.
  const refresh = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const other = next.getElementById(part.id);
        if (other && other.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) part.innerHTML = other.innerHTML;
      }
      draw();
      state("ok");
    } catch {
      state("lost");
    }
  };

  draw();
  addEventListener("resize", () => charts.forEach((chart) => chart.resize()));
  if (document.querySelector("[data-live]")) { state("ok"); setInterval(refresh, REFRESH_MS); }
})();
