// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// The table of hosts. Only the rows near the visible part of the page exist, so that any number of hosts can be shown.

const BEYOND = 12;
const MOST_PRINTED = 20000;

class HostTable {
  constructor({ onOpen, onSort }) {
    this.element = document.getElementById("table");
    this.body = this.element.tBodies[0];
    this.rows = new Map(); // by place in what is shown
    this.active = 0;
    this.first = this.spacer();
    this.last = this.spacer();
    this.onOpen = onOpen;
    this.headings(onSort);
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.body.addEventListener("keydown", (event) => this.typed(event));
    this.body.addEventListener("focusin", (event) => this.focused(event));
    addEventListener("scroll", () => this.soon(), { passive: true });
    addEventListener("resize", () => this.soon());
    addEventListener("beforeprint", () => this.draw(0, Math.min(view.shown.length, MOST_PRINTED)));
    addEventListener("afterprint", () => this.draw());
  }

  headings(onSort) {
    for (const column of COLUMNS) {
      const heading = make("th", column.id, button(column.title, "", () => onSort(column.id)));
      heading.scope = "col";
      this.element.tHead.rows[0].append(heading);
    }
  }

  spacer() {
    const row = make("tr", "spacer", make("td"));
    row.setAttribute("aria-hidden", "true");
    this.body.append(row);
    return row;
  }

  // Shows other hosts, or the same in another order.
  show() {
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.active = 0;
    this.element.hidden = !view.shown.length;
    this.element.setAttribute("aria-rowcount", view.shown.length + 1);
    document.getElementById("none").hidden = view.shown.length > 0;
    for (const heading of this.element.tHead.rows[0].cells) {
      if (heading.className !== view.column) heading.removeAttribute("aria-sort");
      else heading.setAttribute("aria-sort", view.descending ? "descending" : "ascending");
    }
    this.draw();
  }

  soon() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.draw();
    });
  }

  get rowHeight() {
    return parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) * 16;
  }

  draw(from, to) {
    const height = this.rowHeight;
    const above = -this.body.getBoundingClientRect().top;
    const total = view.shown.length;
    const begin = from ?? Math.max(0, Math.min(total, Math.floor(above / height) - BEYOND));
    const end = to ?? Math.max(begin, Math.min(total, Math.ceil((above + innerHeight) / height) + BEYOND));
    for (const [place, row] of this.rows) {
      if (place >= begin && place < end) continue;
      row.remove();
      this.rows.delete(place);
    }
    let next = this.first.nextSibling;
    for (let place = begin; place < end; place += 1) {
      let row = this.rows.get(place);
      if (row) {
        next = row.nextSibling;
      } else {
        row = this.row(view.shown[place], place);
        this.rows.set(place, row);
        next.before(row);
      }
    }
    this.first.firstChild.style.height = `${begin * height}px`;
    this.last.firstChild.style.height = `${(total - end) * height}px`;
    this.first.hidden = begin === 0;
    this.last.hidden = end === total;
    this.oneStop(begin);
  }

  // The table is one stop of the Tab key, at the host that was last looked at or else at the first that is there.
  oneStop(begin) {
    this.body.querySelector("a[tabindex='0']")?.setAttribute("tabindex", "-1");
    const row = this.rows.get(this.active) ?? this.rows.get(begin);
    row?.querySelector("a").setAttribute("tabindex", "0");
  }

  row(host, place) {
    const link = make("a", "", host.name);
    link.href = `#host=${encodeURIComponent(host.name)}`;
    link.tabIndex = -1;
    const step = host.nextStep ?? "";
    const upgrade = make("td", "upgrade", host.upgradeBy ?? "–");
    if (isPast(host.upgradeBy)) upgrade.append(make("strong", "past", "past"));
    const row = make(
      "tr",
      "host",
      make("th", "host", link, make("span", "below", step)),
      make("td", "state", stateWord(host.state)),
      ...(COLUMNS.includes(EXPOSES) ? [make("td", "exposes", host.exposes ? number(host.exposes) : "–")] : []),
      make("td", "kernel", host.kernel ?? "–"),
      make("td", "patch", host.patchVersion ?? "–"),
      make("td", "client", host.clientVersion ?? "–"),
      upgrade,
      make("td", "step", step),
    );
    row.firstChild.scope = "row";
    row.firstChild.title = host.name;
    row.lastChild.title = step;
    row.dataset.place = place;
    row.setAttribute("aria-rowindex", place + 2);
    return row;
  }

  clicked(event) {
    const row = event.target.closest("tr.host");
    const elsewhere = event.ctrlKey || event.metaKey || event.shiftKey; // a link opens where the reader wants it
    if (!row || (elsewhere && event.target.closest("a"))) return;
    event.preventDefault();
    if (getSelection().isCollapsed || event.target.closest("a")) this.onOpen(Number(row.dataset.place));
  }

  focused(event) {
    this.active = Number(event.target.closest("tr").dataset.place);
    this.oneStop(this.active);
  }

  typed(event) {
    const page = Math.max(1, Math.floor(innerHeight / this.rowHeight) - 4);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.focus(this.active + steps[event.key]);
  }

  // Moves the focus to a host, wherever in the table it is.
  focus(place) {
    this.active = Math.max(0, Math.min(view.shown.length - 1, place));
    const height = this.rowHeight;
    const top = this.body.getBoundingClientRect().top + this.active * height;
    const covered = this.element.tHead.getBoundingClientRect().bottom;
    if (top < covered) scrollBy(0, top - covered);
    else if (top + height > innerHeight) scrollBy(0, top + 2 * height - innerHeight);
    this.draw();
    this.rows.get(this.active)?.querySelector("a").focus({ preventScroll: true });
  }
}
