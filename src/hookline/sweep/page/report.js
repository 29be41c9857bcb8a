"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const LR = "learning rate";
  // Okabe and Ito's colours, which the colour-blind can tell apart; then dashes tell the rest.
  const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444"];
  const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
  const FEW = 6;
  const SVG = "http://www.w3.org/2000/svg";

  // Texts come from file names and overrides, so all of them are put in as text and never as markup.
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }
  function drawn(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  function told(number, digits = 4) {
    if (number === null || number === undefined) return "";
    if (number !== 0 && (Math.abs(number) < 1e-3 || Math.abs(number) >= 1e5)) return number.toExponential(2);
    return String(Number(number.toPrecision(digits)));
  }
  // Numbers of one column have the same decimals, as many as the interval makes sense of.
  const halves = data.points.map((point) => point.score && point.score.half).filter((half) => half > 0).sort((a, b) => a - b);
  const typical = halves.length ? halves[Math.floor(halves.length / 2)] : null;
  const means = data.points.map((point) => point.score && Math.abs(point.score.mean)).filter((mean) => mean > 0);
  const scale = typical || (means.length ? Math.max(...means) / 1000 : 1);
  const decimals = Math.max(0, Math.min(8, 2 - Math.floor(Math.log10(scale))));
  const fixed = (number) => (number === null || number === undefined ? "" : number.toFixed(decimals).replace(/^-(?=.*[1-9])/, "−").replace(/^-/, ""));
  const fixedSigned = (number) => (number > 0 ? "+" : "") + fixed(number);

  function tellValues(values) {
    const parts = data.parameters.map((parameter, i) => `${parameter.name}=${values[i]}`);
    return parts.join("  ") || "all jobs";
  }
  // What a filter's words are compared with: values by their keys, and single words.
  function termsOf(pairs, more) {
    const texts = [...pairs.map(([, value]) => value), ...more].map((text) => text.toLowerCase());
    const words = texts.flatMap((text) => [text, ...text.split(/[\s,;:()[\]{}'"]+/)]).filter(Boolean);
    return {pairs: pairs.map(([key, value]) => [`.${key.toLowerCase()}`, value.toLowerCase()]), words: [...new Set(words)]};
  }
  const same = (a, b) => a === b || (a !== "" && b !== "" && Number(a) === Number(b));
  function has(terms, word) {
    const at = word.indexOf("=");
    const [key, value] = [`.${word.slice(0, at)}`, word.slice(at + 1)];
    return terms.words.some((one) => same(one, word)) || (at > 0 && terms.pairs.some(([name, one]) => name.endsWith(key) && same(one, value)));
  }
  function matches(terms) {
    const words = $("filter").value.toLowerCase().match(/(?:"[^"]*"|[^\s"])+/g) || [];
    return words.map((word) => word.replaceAll('"', "")).filter(Boolean).every((word) =>
      word.length > 1 && word[0] === "-" ? !has(terms, word.slice(1)) : has(terms, word));
  }

  function tellStates(states, missing = []) {
    const counts = new Map();
    for (const state of states) counts.set(state, (counts.get(state) || 0) + 1);
    const made = [...counts].map(([state, count]) =>
      element("span", {class: `state ${state.split(" ")[0]}`}, states.length > 1 ? `${count} ${state}` : state));
    if (missing.length) made.push(element("span", {class: "state missing"}, `${missing.length} missing`));
    return made;
  }

  // A table whose heads sort it. A column: head, value (to sort by), cell (what is shown), right, plain (not sorted).
  function makeTable(table, columns, rows, sorted) {
    const heads = columns.map((column, i) => {
      const inside = column.plain ? column.head : element("button", {type: "button"}, column.head);
      const head = element("th", column.right ? {class: "right"} : {}, inside);
      if (column.title) head.title = column.title;
      if (!column.plain) inside.addEventListener("click", () => sort(i));
      return head;
    });
    const body = element("tbody");
    for (const row of rows) {
      row.element = element("tr", {}, ...columns.map((column) => {
        const cell = element("td", column.right ? {class: "right"} : {});
        cell.append(...[column.cell(row)].flat().filter((child) => child !== null && child !== undefined));
        if (cell.textContent.length > 24 && !column.right) cell.classList.add("long");
        return cell;
      }));
    }
    table.append(element("thead", {}, element("tr", {}, ...heads)), body);
    const state = {column: null, down: false};
    function compare(a, b) {
      const numbers = [a, b].map((value) => (typeof value === "number" ? value : Number(value)));
      if (numbers.every((value) => Number.isFinite(value)) && a !== "" && b !== "") return numbers[0] - numbers[1];
      return String(a).localeCompare(String(b), "en", {numeric: true});
    }
    function sort(i, down = state.column === i ? !state.down : Boolean(columns[i].down)) {
      Object.assign(state, {column: i, down});
      heads.forEach((head, j) => (j === i ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
      const empty = (value) => value === null || value === undefined || value === "";
      rows.sort((one, other) => {
        const [a, b] = [columns[i].value(one), columns[i].value(other)];
        if (empty(a) || empty(b)) return empty(a) - empty(b);  // what has no number stands last, either way
        return (down ? -1 : 1) * compare(a, b);
      });
      body.append(...rows.map((row) => row.element));
    }
    body.append(...rows.map((row) => row.element));
    if (sorted !== undefined) {
      heads[sorted].setAttribute("aria-sort", data.mode === "max" ? "descending" : "ascending");
      Object.assign(state, {column: sorted, down: data.mode === "max"});
    }
  }

  // The head: what was run, and what came of it.
  const arrow = data.mode === "max" ? "higher" : "lower";
  $("name").textContent = data.name;
  $("about").textContent = `${data.jobs.length} jobs, ${data.points.length} points; ${data.monitor}, ${arrow} is better, of each job's ${data.when} epoch`;
  $("counts").append(...tellStates(data.jobs.map((job) => job.state)));
  const best = data.points.find((point) => point.score);
  if (best) {
    const half = best.score.half;
    const figure = element("div", {class: "figure"}, fixed(best.score.mean),
      element("small", {}, half === null ? (best.score.count === 1 ? " one seed" : ` ${best.score.count} equal seeds`) : ` ± ${fixed(half)} (95 %, ${best.score.count} seeds)`));
    const others = data.points.filter((point) => point.score && point !== best);
    const told = others.filter((point) => point.behind && point.behind.half !== null);
    const close = told.filter((point) => Math.abs(point.behind.mean) <= point.behind.half).length;
    const better = told.filter((point) => (data.mode === "max" ? 1 : -1) * point.behind.mean > point.behind.half).length;
    const worse = told.length - close - better;
    const untold = others.length - told.length;
    const said = others.length === 0 ? ["No other point has a result."]
      : worse === others.length ? ["Every other point is worse, beyond the 95 % interval of the paired difference."]
      : untold === others.length ? ["No other point has an interval of its difference, so it cannot be told whether one is as good."]
      : [`Of ${others.length} other points, by the 95 % interval of the paired difference:`,
        [[worse, "worse"], [close, "not to be told apart from it"], [better, "better in the seeds that both have"],
          [untold, "without an interval, so that it cannot be told"]].filter(([count]) => count).map(([count, what]) => `${count} ${what}`).join(", ") + "."];
    $("answer").append(figure, element("p", {}, "Best: ", element("b", {}, tellValues(best.values)), ". ", data.points.length < 2 ? "" : said.join(" ")));
  } else {
    $("answer").append(element("p", {}, `No job has ${data.monitor} yet.`));
  }

  // Points.
  const points = data.points.map((point, id) => ({...point, id, checked: false,
    color: COLORS[id % COLORS.length], dash: DASHES[Math.floor(id / COLORS.length) % DASHES.length]}));
  const drawable = points.filter((point) => Object.values(data.curves).some((curves) => curves[point.id]));
  // A run that diverged has numbers beside which those of all others are one flat line.
  const calm = drawable.filter((point) => !point.states.includes("diverged"));
  (calm.length ? calm : drawable).slice(0, FEW).forEach((point) => (point.checked = true));

  const ends = points.filter((point) => point.score).flatMap((point) => {
    const {mean, half} = point.score;
    return [mean - (half || 0), mean + (half || 0), ...point.scores.map(([, score]) => score)];
  });
  // One wild interval must not squeeze all others: the scale is that of the seeds, with some room.
  const seen = points.flatMap((point) => point.scores.map(([, score]) => score));
  const [low, high] = [Math.min(...seen), Math.max(...seen)];
  const room = (high - low) * 0.25 || Math.abs(high) * 0.01 || 1;
  const left = Math.max(Math.min(...ends), low - room);
  const right = Math.min(Math.max(...ends), high + room);
  function whisker(point) {
    if (!point.score) return null;
    const [width, middle] = [170, 9];
    const x = (value) => 5 + (width - 10) * (Math.min(Math.max(value, left), right) - left) / (right - left || 1);
    const svg = drawn("svg", {width, height: 18, role: "img"});
    const {mean, half} = point.score;
    if (best) svg.append(drawn("line", {x1: x(best.score.mean), x2: x(best.score.mean), y1: 0, y2: 18, stroke: "#c4cdd6", "stroke-dasharray": "2 2"}));
    if (half !== null) svg.append(drawn("line", {x1: x(mean - half), x2: x(mean + half), y1: middle, y2: middle, stroke: point.color, "stroke-width": 2}));
    for (const [, score] of point.scores) svg.append(drawn("circle", {cx: x(score), cy: middle, r: 2.5, fill: "#fff", stroke: point.color}));
    svg.append(drawn("rect", {x: x(mean) - 4, y: middle - 4, width: 8, height: 8, fill: point.color, transform: `rotate(45 ${x(mean)} ${middle})`}));
    return svg;
  }
  function difference(point) {
    if (!point.behind) return point === points.find((one) => one.score) ? "best" : "";
    const {mean, half} = point.behind;
    return fixedSigned(mean) + (half === null ? "" : ` ± ${fixed(half)}`);
  }
  function check(point) {
    if (!drawable.includes(point)) return null;
    const box = element("input", {type: "checkbox", "aria-label": `draw ${tellValues(point.values)}`});
    box.checked = point.checked;
    box.addEventListener("change", () => { point.checked = box.checked; draw(); });
    point.box = box;
    return [box, swatch(point)];
  }
  function swatch(point) {
    const made = element("span", {class: "swatch"});
    made.style.borderTopColor = point.color;
    made.style.borderTopStyle = point.dash.length ? (point.dash[0] < 5 ? "dotted" : "dashed") : "solid";
    return made;
  }
  const values = data.parameters.map((parameter, i) => ({head: parameter.name, title: parameter.key, value: (row) => row.values[i], cell: (row) => row.values[i]}));
  const down = data.mode === "max";
  const several = points.some((point) => point.score && point.score.count > 1);
  const scored = [{head: several ? `mean ${data.monitor}` : data.monitor, right: true, down, value: (p) => p.score && p.score.mean, cell: (p) => (p.score ? fixed(p.score.mean) : "")}];
  const ofSeveral = [
    {head: "± 95 %", right: true, value: (p) => p.score && p.score.half, cell: (p) => (p.score ? fixed(p.score.half) : ""), title: "half of Student's interval over the seeds"},
    {head: "sd", right: true, value: (p) => p.score && p.score.sd, cell: (p) => (p.score ? fixed(p.score.sd) : ""), title: "standard deviation over the seeds"},
    {head: "to the best", right: true, down, value: (p) => (p.behind ? p.behind.mean : null), cell: difference, title: "paired over common seeds, with its 95 % interval"},
    {head: "p", right: true, value: (p) => (p.behind ? p.behind.p : null), cell: (p) => (p.behind && p.behind.p !== null ? (p.behind.p < 0.001 ? "< 0.001" : p.behind.p.toFixed(3)) : ""), title: "two-sided paired t-test, not corrected for the number of points"},
  ];
  const pointColumns = [
    {head: "", plain: true, cell: check}, ...values, ...scored, ...(several ? ofSeveral : []),
    ...(several ? [{head: "seeds", plain: true, cell: whisker}] : []),
    {head: "jobs", value: (p) => p.states.filter((state) => state === "done").length, cell: (p) => tellStates(p.states, p.missing)},
  ];
  const meanColumn = 1 + values.length;
  makeTable($("points"), pointColumns, [...points], meanColumn);

  // Jobs.
  const jobs = data.jobs.map((job) => ({...job, terms: termsOf(
    [...data.parameters.map((parameter, i) => [parameter.key, job.values[i]]), ["seed", job.seed]],
    [job.state, job.name, job.reason, ...(points[job.point].missing.length ? ["missing"] : [])])}));
  // A point is shown where one of its jobs is.
  let fitting = new Set();
  const fits = (point) => fitting.has(point.id);
  const jobColumns = [
    {head: "job", value: (job) => job.name, cell: (job) => element("a", {href: job.link}, job.name)},
    ...values,
    {head: "seed", right: true, value: (job) => job.seed, cell: (job) => job.seed},
    {head: data.monitor, right: true, down, value: (job) => job.score, cell: (job) => fixed(job.score)},
    {head: "epochs", right: true, down: true, value: (job) => job.epochs, cell: (job) => String(job.epochs)},
    {head: "seconds", right: true, down: true, value: (job) => job.seconds, cell: (job) => told(job.seconds, 3)},
    {head: "state", value: (job) => job.state, cell: (job) => tellStates([job.state])},
    ...(jobs.some((job) => job.reason) ? [{head: "reason", value: (job) => job.reason, cell: (job) => job.reason}] : []),
  ];
  makeTable($("jobs"), jobColumns, [...jobs], 2 + values.length);

  // What the differences go with.
  if (data.effects.length) {
    const blocks = [];
    if (data.shares.length) {
      const widest = Math.max(...data.shares.map((share) => share.percent));
      blocks.push(element("div", {}, element("h3", {}, "Share of the variance between the jobs"), ...data.shares.map(({what, percent, parameter}) => {
        const bar = element("div");
        bar.style.width = `${100 * percent / widest}%`;
        return element("div", {class: parameter ? "share" : "share rest"}, element("span", {}, what), element("i", {style: ""}, bar), element("b", {}, `${percent} %`));
      })));
    }
    const diverged = data.effects.some(({values: found}) => found.some((effect) => effect.diverged));
    for (const {key, values: found} of data.effects) {
      const table = element("table");
      const behind = (effect) => (effect.behind ? fixedSigned(effect.behind.mean) + (effect.behind.half === null ? "" : ` ± ${fixed(effect.behind.half)}`) : "–");
      makeTable(table, [
        {head: "value", value: (e) => e.value, cell: (e) => e.value},
        {head: "jobs", right: true, value: (e) => (e.score ? e.score.count : 0), cell: (e) => String(e.score ? e.score.count : 0)},
        ...(diverged ? [{head: "diverged", right: true, value: (e) => e.diverged, cell: (e) => (e.diverged ? String(e.diverged) : ""), title: "jobs without a number, which are left out of all others here"}] : []),
        {head: "mean", right: true, down, value: (e) => (e.score ? e.score.mean : null), cell: (e) => (e.score ? fixed(e.score.mean) : "")},
        {head: "all else equal", right: true, down, value: (e) => (e.behind ? e.behind.mean : null), cell: (e) => (e === found[0] ? "reference" : behind(e)),
          title: "difference to the first value over pairs of jobs that are equal in all else, seed included, with its 95 % interval"},
      ], found.map((effect, i) => (found[i] = {...effect})), undefined);
      blocks.push(element("div", {}, element("h3", {}, key), table));
    }
    $("matters").append(element("h2", {}, "What matters"), element("p", {class: "note"},
      data.shares.length
        ? "Shares are Shapley values of the adjusted R² of an additive model: what a parameter adds to the others, averaged over all orders. “All else equal” compares pairs of jobs that differ in this parameter alone."
        : "There are too few jobs to tell the parameters' shares. “All else equal” compares pairs of jobs that differ in this parameter alone."),
      element("div", {class: "matters"}, ...blocks));
  }

  // Charts.
  const numbers = Object.keys(data.curves).filter((name) => name !== LR);
  for (const name of numbers) $("number").append(element("option", {}, name));
  if (numbers.includes(data.monitor)) $("number").value = data.monitor;
  // Both charts reach from 0 to the end of the longest run, so that one stands beside the other.
  const last = Math.max(...Object.values(data.curves).flat().filter(Boolean).map((curve) => curve.x.at(-1)), 0) || 1;
  const charts = {};
  const legend = new Map();
  const sync = uPlot.sync("epoch");

  function chart(place, name, chosen) {
    if (charts[place]) charts[place].destroy();
    $(place).replaceChildren();
    delete charts[place];
    const curves = data.curves[name] || [];
    const there = chosen.filter((point) => curves[point.id]);
    if (!there.length) {
      $(place).append(element("p", {class: "note"}, name ? `No ${name} of the points that are chosen.` : "Nothing was measured yet."));
      return;
    }
    const series = [{label: "epoch"}];
    const bands = [];
    const tables = there.map((point) => {
      const {x, mean, low, high} = curves[point.id];
      if (low) {
        bands.push({series: [series.length, series.length + 1], fill: point.color + "26"});
        series.push({width: 0, spanGaps: true, points: {show: false}, stroke: "transparent"}, {width: 0, spanGaps: true, points: {show: false}, stroke: "transparent"});
      }
      series.push({label: tellValues(point.values), stroke: point.color, width: 2, dash: point.dash, spanGaps: true, points: {show: x.length < 3, size: 6, fill: point.color}});
      return low ? [x, high, low, mean] : [x, mean];
    });
    tables.first = Math.min(...tables.map((table) => table[0][0]));
    tables.last = Math.max(...tables.map((table) => table[0].at(-1)));
    const axis = {stroke: "#61707f", grid: {stroke: "#e9edf2", width: 1}, ticks: {stroke: "#e3e8ee", width: 1}, font: "12px system-ui, sans-serif", labelFont: "13px system-ui, sans-serif", labelSize: 22};
    const options = {
      width: $(place).clientWidth || 560, height: 340, title: name, series, bands,
      legend: {show: false}, scales: {x: {time: false, range: (_, min, max) => (min === tables.first && max === tables.last ? [0, last] : [min, max])}},
      cursor: {sync: {key: sync.key, setSeries: false}, drag: {x: true, y: true, uni: 20}, points: {show: false}},
      axes: [{...axis, label: "epoch"}, {...axis, size: 64, values: (_, ticks) => ticks.map((tick) => told(tick))}],
      hooks: {setCursor: [(plot) => { if (place === "chart") tellCursor(plot, there, curves); }]},
    };
    charts[place] = new uPlot(options, uPlot.join(tables), $(place));
  }
  function tellCursor(plot, there, curves) {
    for (const point of there) {
      const label = legend.get(point.id);
      if (!label) continue;
      const {x, mean} = curves[point.id];
      const at = plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, "x") : null;
      let near = 0;
      if (at !== null) x.forEach((value, i) => { if (Math.abs(value - at) < Math.abs(x[near] - at)) near = i; });
      label.textContent = at === null ? "" : told(mean[near]);
    }
  }
  function draw() {
    const chosen = drawable.filter((point) => point.checked && fits(point));
    legend.clear();
    $("legend").replaceChildren(...chosen.map((point) => {
      const number = element("b");
      legend.set(point.id, number);
      return element("span", {}, swatch(point), tellValues(point.values), number);
    }));
    chart("chart", $("number").value, chosen);
    chart("rates", LR, chosen);
  }
  function choose(wanted) {
    let count = 0;
    for (const point of drawable) {
      if (!fits(point)) continue;
      point.checked = (wanted === Infinity || calm.length === 0 || calm.includes(point)) && count++ < wanted;
      point.box.checked = point.checked;
    }
    draw();
  }
  function filter() {
    const found = new Set(jobs.filter((job) => matches(job.terms)));
    fitting = new Set([...found].map((job) => job.point));
    for (const job of jobs) job.element.hidden = !found.has(job);
    for (const point of points) point.element.hidden = !fits(point);
    $("shown").textContent = `${fitting.size} of ${points.length} points, ${found.size} of ${jobs.length} jobs`;
    draw();
  }
  $("filter").addEventListener("input", filter);
  $("number").addEventListener("change", draw);
  $("few").addEventListener("click", () => choose(FEW));
  $("all").addEventListener("click", () => choose(Infinity));
  $("none").addEventListener("click", () => choose(0));
  let waiting = null;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { for (const place of Object.keys(charts)) charts[place].setSize({width: $(place).clientWidth, height: 340}); }, 100);
  });
  filter();
})();
