"use strict";
// What a page can do without any library: sort and filter tables, tell what is under the pointer, show the same thing everywhere
// (elements with the same data-k belong together), and narrow the choice by dragging along an axis of parallel coordinates.
// Each block of a page is by itself: the same key in another one is something else.
const tip = document.getElementById("tip");
const all = (query, root) => [...root.querySelectorAll(query)];
for (const block of all(".block", document)) {
  const byKey = new Map();
  for (const element of all("[data-k]", block)) {
    const key = element.dataset.k;
    if (!byKey.has(key)) byKey.set(key, []);
    byKey.get(key).push(element);
  }
  const names = JSON.parse(block.querySelector("script.names")?.textContent || "{}");
  let lit = null;
  const light = key => {
    if (key === lit) return;
    if (lit !== null) for (const element of byKey.get(lit) || []) element.classList.remove("hl");
    lit = key;
    if (lit === null) return;
    for (const element of byKey.get(lit) || []) {
      element.classList.add("hl");
      if (element.tagName === "path") element.parentNode.appendChild(element); // to the front
    }
  };
  const say = (event, text) => {
    tip.textContent = text;
    tip.style.display = "block";
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = (event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18) + "px";
  };
  const hush = () => { tip.style.display = "none"; light(null); };

  // Numbers under the pointer: axes carry their range.
  const short = x => {
    if (!isFinite(x)) return String(x);
    const size = Math.abs(x);
    return size && (size < 1e-3 || size >= 1e6) ? x.toExponential(3).replace(/\.?0+e/, "e") : String(+x.toPrecision(5));
  };
  const unscale = (pixel, [lo, hi, from, to, log]) => {
    const share = (pixel - from) / (to - from);
    return log ? lo * Math.pow(hi / lo, share) : lo + share * (hi - lo);
  };

  const pointsOf = path => {
    if (path._points) return path._points;
    const points = [];
    for (const piece of path.getAttribute("d").split("M").slice(1)) {
      const [start, rest] = piece.split("l");
      let [x, y] = start.trim().split(/[ ,]+/).map(Number);
      points.push(x / 2, y / 2);
      const steps = rest ? rest.trim().split(/[ ,]+/).map(Number) : [];
      for (let i = 0; i + 1 < steps.length; i += 2) { x += steps[i]; y += steps[i + 1]; points.push(x / 2, y / 2); }
    }
    return (path._points = Float32Array.from(points));
  };
  const segmentDistance = (px, py, ax, ay, bx, by) => {
    const dx = bx - ax, dy = by - ay, length = dx * dx + dy * dy;
    const t = length ? Math.max(0, Math.min(1, ((px - ax) * dx + (py - ay) * dy) / length)) : 0;
    return (ax + t * dx - px) ** 2 + (ay + t * dy - py) ** 2;
  };

  for (const svg of all("svg[data-x]", block)) {
    const axes = { x: JSON.parse(svg.dataset.x), y: JSON.parse(svg.dataset.y || "null") };
    const lines = svg.dataset.kind === "parallel" || svg.dataset.kind === "line";
    let waiting = false;
    svg.addEventListener("pointermove", event => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
        const px = (event.clientX - box.left) * view.width / box.width, py = (event.clientY - box.top) * view.height / box.height;
        let best = 900, found = null, at = null; // 30 units away at most
        if (lines) {
          for (const path of svg.querySelectorAll(".d path:not(.dim)")) {
            const p = pointsOf(path);
            for (let i = 0; i < p.length; i += 2) {
              const near = svg.dataset.kind === "parallel" && i + 3 < p.length
                ? segmentDistance(px, py, p[i], p[i + 1], p[i + 2], p[i + 3]) : (p[i] - px) ** 2 + (p[i + 1] - py) ** 2;
              if (near < best) { best = near; found = path; at = [p[i], p[i + 1]]; }
            }
          }
        } else {
          for (const dot of svg.querySelectorAll("circle:not(.dim)")) {
            const x = +dot.getAttribute("cx"), y = +dot.getAttribute("cy"), near = (x - px) ** 2 + (y - py) ** 2;
            if (near < best) { best = near; found = dot; at = [x, y]; }
          }
        }
        if (!found) return hush();
        light(found.dataset.k ?? null);
        let text = names[found.dataset.k] || found.dataset.n || "";
        if (axes.y) {
          text += (text ? "\n" : "") + `${svg.dataset.xl}: ${short(svg.dataset.xi ? Math.round(unscale(at[0], axes.x)) : unscale(at[0], axes.x))}, ${svg.dataset.yl}: ${short(unscale(at[1], axes.y))}`;
        }
        say(event, text);
      });
    });
    svg.addEventListener("pointerleave", hush);
  }

  // Tables
  const shown = new Map(); // key -> reasons why it is hidden
  const hide = (reason, isHidden) => {
    for (const [key, elements] of byKey) {
      if (!shown.has(key)) shown.set(key, new Set());
      const reasons = shown.get(key);
      isHidden(key) ? reasons.add(reason) : reasons.delete(reason);
      for (const element of elements) {
        if (element.tagName === "TR") element.hidden = reasons.size > 0;
        else element.classList.toggle("dim", reasons.size > 0);
      }
    }
    for (const box of all(".tools", block)) {
      const rows = all("tbody tr", box.parentNode), count = box.querySelector("output");
      if (count) count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length}`;
    }
  };
  for (const table of all("table.rich", block)) {
    const body = table.tBodies[0];
    all("th[data-sort]", table).forEach(head => {
      const sort = () => {
        const index = head.cellIndex, up = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        all("th", table).forEach(other => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up > 0 ? "ascending" : "descending");
        const numeric = head.dataset.sort === "n";
        const value = row => {
          const cell = row.cells[index], text = cell.dataset.v ?? cell.textContent;
          return numeric ? (text === "" ? NaN : +text) : text.toLowerCase();
        };
        const rows = [...body.rows].map(row => [value(row), row]);
        const missing = v => v === "" || v !== v; // always last
        rows.sort(([a], [b]) => missing(a) || missing(b) ? missing(a) - missing(b) : up * (a < b ? -1 : a > b ? 1 : 0));
        body.append(...rows.map(([, row]) => row));
      };
      head.tabIndex = 0;
      head.addEventListener("click", sort);
      head.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } });
    });
    body.addEventListener("pointerover", event => { const row = event.target.closest("tr[data-k]"); light(row ? row.dataset.k : null); });
    body.addEventListener("pointerleave", () => light(null));
    const input = table.closest("section")?.querySelector(".tools input");
    input?.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const texts = new Map([...body.rows].map(row => [row.dataset.k, row.textContent.toLowerCase()]));
      hide("filter", key => !words.every(word => (texts.get(key) ?? "").includes(word)));
    });
  }

  // Dragging along an axis of parallel coordinates keeps the lines that pass through; a click lets all back.
  for (const svg of all("svg[data-kind=parallel]", block)) {
    const ranges = new Map();
    const apply = () => {
      const kept = new Map(all(".d path", svg).map(path => [path.dataset.k, pointsOf(path)]));
      hide("brush", key => {
        const p = kept.get(key);
        return ranges.size > 0 && (!p || ![...ranges].every(([axis, [top, bottom]]) => {
          const y = p[axis * 2 + 1];
          return y >= top && y <= bottom;
        }));
      });
    };
    all(".axis", svg).forEach((axis, index) => {
      const brush = axis.querySelector(".brush");
      const where = event => {
        const box = svg.getBoundingClientRect();
        return (event.clientY - box.top) * svg.viewBox.baseVal.height / box.height;
      };
      let from = null;
      axis.addEventListener("pointerdown", event => { from = where(event); axis.setPointerCapture(event.pointerId); event.preventDefault(); });
      axis.addEventListener("pointermove", event => {
        if (from === null) return;
        const to = where(event), top = Math.min(from, to), bottom = Math.max(from, to);
        brush.setAttribute("y", top);
        brush.setAttribute("height", bottom - top);
      });
      axis.addEventListener("pointerup", event => {
        const to = where(event);
        if (Math.abs(to - from) < 4) { ranges.delete(index); brush.setAttribute("height", 0); }
        else ranges.set(index, [Math.min(from, to), Math.max(from, to)]);
        from = null;
        apply();
      });
    });
  }
}
