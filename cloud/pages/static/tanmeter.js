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

  const shown = (value, digits = 2) => Number(value).toLocaleString("en-US", { maximumFractionDigits: digits }).replace(/,/g, "\u202f");
  const narrow = (box) => box.clientWidth < 500;

  const options = (box, data) => {
    const bars = box.dataset.kind === "bar";
    return {
      animation: false,
      color: COLOURS,
      grid: { left: 8, right: 12, top: narrow(box) ? 62 : 40, bottom: 4, containLabel: true },
      legend: { top: 0, left: data.series.length > 3 && !narrow(box) ? 112 : "auto", right: 8, type: "scroll", textStyle: { color: "#16222e", fontSize: 13 } },
      tooltip: {
        trigger: "axis", renderMode: "richText", confine: true,
        valueFormatter: (value) => (value === null || value === undefined ? "–" : value + " " + box.dataset.unit),
      },
      xAxis: { type: "category", data: data.names, axisLabel: { color: "#4d5c6b", hideOverlap: true } },
      yAxis: { type: "value", name: box.dataset.unit, nameTextStyle: { color: "#4d5c6b", align: "left" }, axisLabel: { color: "#4d5c6b", formatter: (value) => shown(value, 9) } },
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

  const words = { color: "#16222e", fontSize: 13 };

  // About how wide a name is in the small print below an axis.
  const wide = (name) => [...name].reduce((sum, sign) => sum + (sign > "\u00ff" ? 11 : 6), 0);

  // From the whole before to the whole after: an unseen bar carries each step. On a phone, and where names do not fit below
  // their bars, the steps stand below each other.
  const waterfall = (box, table) => {
    const rows = [...table.tBodies[0].rows].map((row) => {
      const [, base, change] = [...row.cells].map((cell) => Number(cell.dataset.v));
      return { name: row.dataset.x, whole: Boolean(row.dataset.whole), low: Math.min(base, base + change), size: Math.abs(change), change };
    });
    const ends = rows.flatMap((row) => (row.whole ? [row.low + row.size] : [row.low, row.low + row.size]));
    const least = Math.min(...ends), step = 10 ** Math.floor(Math.log10(Math.max(...ends) - least || Math.abs(least) || 1));
    const floor = least > 0 ? Math.max(0, (Math.floor(least / step) - 1) * step) : least;
    const room = Math.floor(box.clientWidth / rows.length) - 8;
    const flat = narrow(box) || rows.some((row) => wide(row.name) > 3 * room || row.name.split(" ").some((word) => wide(word) > room && /^[ -~]+$/.test(word)));
    const bar = (row) => ({
      value: row.whole ? row.low + row.size - floor : row.size,
      itemStyle: { color: row.whole ? "#0b57a4" : row.change < 0 ? "#0a6b35" : "#b5451b" },
      label: { show: true, position: flat ? "right" : "top", color: "#16222e", formatter: (row.change > 0 && !row.whole ? "+" : "") + shown(row.whole ? row.low + row.size : row.change) },
    });
    const steps = { type: "category", inverse: flat, data: rows.map((row) => row.name), axisLabel: { color: "#4d5c6b", interval: 0, width: flat ? (narrow(box) ? 110 : 190) : room, overflow: "break", fontSize: 11 } };
    const amounts = { type: "value", min: 0, splitNumber: flat ? 2 : 5, axisLabel: { color: "#4d5c6b", formatter: (value) => shown(value + floor) } };
    return {
      animation: false,
      grid: { left: 8, right: flat ? 56 : 12, top: flat ? 8 : 30, bottom: 4, containLabel: true },
      xAxis: flat ? amounts : steps,
      yAxis: flat ? steps : amounts,
      series: [
        { type: "bar", stack: "all", silent: true, itemStyle: { color: "transparent" }, data: rows.map((row) => (row.whole ? 0 : row.low - floor)) },
        { type: "bar", stack: "all", barMaxWidth: 44, data: rows.map(bar) },
      ],
    };
  };

  // Stripes, for what was declared or filled.
  const stripes = () => {
    const tile = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
    const pen = tile.getContext("2d");
    pen.fillStyle = "#eef1f4"; pen.fillRect(0, 0, 8, 8);
    pen.strokeStyle = "#8796a5"; pen.lineWidth = 1.6;
    for (const at of [-8, 0, 8]) { pen.beginPath(); pen.moveTo(at - 1, 9); pen.lineTo(at + 9, -1); pen.stroke(); }
    return { image: tile, repeat: "repeat" };
  };

  // Each row a flow: solid what was measured, paler by a default factor, striped what was declared or filled. A meter opens
  // its page; what no meter below it counted is red.
  const sankey = (box, table) => {
    const rows = [...table.tBodies[0].rows].map((row) => row.dataset);
    const names = [...new Set(rows.flatMap((row) => [row.source, row.target]))];
    const sums = new Map(names.map((name) => {
      const sum = (side) => rows.filter((row) => row[side] === name).reduce((total, row) => total + Number(row.v), 0);
      return [name, Math.max(sum("source"), sum("target"))];
    }));
    const steps = (name) => Math.max(0, ...rows.filter((row) => row.source === name).map((row) => 1 + steps(row.target)));
    const column = Math.floor((box.clientWidth - 178) / Math.max(1, ...names.map(steps))) - 30;
    const pages = new Map(rows.flatMap((row) => [[row.source, row.sourceHref], [row.target, row.targetHref]]));
    const left = new Set(rows.filter((row) => row.column === "rest").map((row) => row.target));
    const styles = { measured: { color: "gradient", opacity: 0.55 }, default: { color: "gradient", opacity: 0.25 }, estimated: { color: stripes(), opacity: 0.75 } };
    return {
      animation: false,
      color: COLOURS,
      tooltip: { trigger: "item", renderMode: "richText", confine: true, valueFormatter: (value) => shown(value) + " " + box.dataset.unit },
      series: [{
        type: "sankey", left: 8, right: narrow(box) ? 82 : 170, top: 8, bottom: 8, nodeAlign: "left", draggable: false, emphasis: { focus: "adjacency" },
        label: narrow(box)
          ? { ...words, fontSize: 11, formatter: (node) => node.name + (rows.some((row) => row.source === node.name) ? "" : "\n" + shown(sums.get(node.name))), width: 74, overflow: "break" }
          : { ...words, formatter: (node) => node.name + " " + shown(sums.get(node.name)), width: Math.max(60, column), overflow: "truncate" },
        data: names.map((name) => ({ name, href: pages.get(name), itemStyle: left.has(name) ? { color: "#b5451b" } : undefined })),
        links: rows.map((row) => ({ source: row.source, target: row.target, value: Number(row.v), href: row.href, lineStyle: styles[row.standing] })),
      }],
    };
  };

  // Pale to dark red: how much of the greatest.
  const shade = (part) => {
    const [low, high] = [[240, 243, 228], [228, 142, 112]];
    return "rgb(" + low.map((from, index) => Math.round(from + (high[index] - from) * Math.sqrt(part))).join(",") + ")";
  };

  // Districts and parks as areas, shaded by emission.
  const areas = (box) => {
    const table = document.getElementById(box.dataset.areas || "");
    const rows = table ? [...table.tBodies[0].rows].map((row) => row.dataset) : [];
    const most = Math.max(1, ...rows.map((row) => Number(row.v)));
    const corners = rows.map((row) => row.outline.trim().split(" ").map((pair) => pair.split(",").map(Number)));
    const layer = (z, item, more) => ({
      type: "custom", z, encode: { x: 0, y: 1 }, ...more,
      data: rows.map((row, index) => ({ name: row.x, value: [...corners[index][0], Number(row.v)], grade: row.grade, href: row.href })),
      renderItem: (params, api) => item(rows[params.dataIndex], corners[params.dataIndex].map((corner) => api.coord(corner))),
    });
    const shape = (row, points) => {
      const poor = row.grade === "D";
      return { type: "polygon", shape: { points }, style: { fill: shade(Math.max(0, Number(row.v)) / most), stroke: poor ? "#a8200d" : "#8796a5", lineWidth: poor ? 3 : 1, lineDash: poor ? [8, 5] : null } };
    };
    const words = (row, points) => {
      const [x, y] = [0, 1].map((axis) => (Math.min(...points.map((point) => point[axis])) + Math.max(...points.map((point) => point[axis]))) / 2);
      return { type: "text", x, y, style: { text: row.x + "\n" + shown(Math.round(Number(row.v) / 1000)) + " kt · " + row.grade, align: "center", verticalAlign: "middle", fontSize: 13, fontWeight: 600, lineHeight: 18, fill: "#16222e" } };
    };
    return rows.length ? [layer(1, shape, { cursor: "pointer" }), layer(4, words, { silent: true })] : [];
  };

  // Where the subjects are: area of the circle by emission, colour by what it rests on.
  const map = (box, table) => {
    const tones = { A: "#0a6b35", B: "#6b9a1f", C: "#c07a00", D: "#a8200d" };
    const rows = [...table.tBodies[0].rows].map((row) => row.dataset).filter((row) => row.lon && row.lat);
    const most = Math.max(1, ...rows.map((row) => Math.abs(Number(row.v)))), below = areas(box);
    const axis = (sign) => ({ type: "value", scale: true, boundaryGap: ["6%", "6%"], splitNumber: narrow(box) ? 3 : 5, axisLabel: { color: "#4d5c6b", formatter: "{value}" + sign, hideOverlap: true }, splitLine: { lineStyle: { color: "#e8edf2" } } });
    return {
      animation: false,
      grid: { left: 8, right: 34, top: 16, bottom: 8, containLabel: true },
      tooltip: { trigger: "item", renderMode: "richText", confine: true, formatter: (point) => point.name + " " + shown(point.value[2]) + " " + box.dataset.unit + " · " + point.data.grade },
      xAxis: axis("°E"),
      yAxis: axis("°N"),
      series: [...below, {
        type: "scatter", z: 3, cursor: "pointer",
        symbolSize: (value) => (below.length ? 7 + 20 * Math.sqrt(Math.abs(value[2]) / most) : 10 + 46 * Math.sqrt(Math.abs(value[2]) / most)),
        label: { formatter: (point) => point.name + " " + point.data.grade, position: "bottom", fontSize: 12, color: "#16222e" },
        labelLayout: { hideOverlap: true },
        data: rows.map((row) => ({ name: row.x, value: [Number(row.lon), Number(row.lat), Number(row.v)], grade: row.grade, href: row.href, label: { show: !below.length && !narrow(box) && Number(row.v) > most / 12 },
          itemStyle: { color: tones[row.grade] || "#4d5c6b", opacity: 0.75, borderColor: "#fff" } })),
      }],
    };
  };

  const KINDS = { waterfall, sankey, map };

  const draw = () => {
    for (const box of document.querySelectorAll(".chart")) {
      const table = document.getElementById(box.dataset.table);
      if (!table || !window.echarts) continue;
      const own = KINDS[box.dataset.kind];
      if (!charts.has(box)) {
        const chart = window.echarts.init(box);
        chart.on("click", (event) => {
          const href = own ? event.data && event.data.href : read(document.getElementById(box.dataset.table)).links[event.dataIndex];
          if (href) location.href = href;
        });
        charts.set(box, chart);
      }
      charts.get(box).setOption(own ? own(box, table) : options(box, read(table)));
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
