// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// The table of hosts. Of many hosts, only the rows near the visible part of the page exist, so that any number can be
// shown. Up to MAX_WHOLE_ROWS hosts, all rows exist, so that the browser finds every name in the page.

const MARGIN_ROWS = 12; // rows above and below the visible part
const LONG_NAME = 22; // characters, of which a wide window shows all in one line
const MAX_WHOLE_ROWS = 1500;
const MAX_PRINTED_ROWS = 20000;

/** A row without content that is as high as the rows that do not exist. */
class Spacer {
  constructor() {
    this.cell = createElement("td", "");
    this.row = createElement("tr", "spacer", this.cell);
    this.row.ariaHidden = "true";
  }

  /** @param {number} pixels */
  setHeight(pixels) {
    this.cell.style.height = `${pixels}px`;
    this.row.hidden = pixels === 0;
  }
}

class HostsTable {
  /**
   * @param {(position: number) => void} onOpen With the position among the shown hosts.
   * @param {(column: string) => void} onSort
   */
  constructor(onOpen, onSort) {
    this.element = elementById("table", HTMLTableElement);
    this.body = elementById("rows", HTMLTableSectionElement);
    /** @type {Map<number, HTMLTableRowElement>} The rows that exist, by position among the shown hosts. */
    this.rows = new Map();
    /** The position of the host that has the focus, or had it last. */
    this.active = 0;
    this.drawPending = false;
    this.spaceAbove = new Spacer();
    this.spaceBelow = new Spacer();
    this.body.append(this.spaceAbove.row, this.spaceBelow.row);
    this.onOpen = onOpen;
    this.headings = COLUMNS.map((column) => createHeading(column, onSort));
    elementById("headings", HTMLTableRowElement).replaceChildren(...this.headings);
    this.body.addEventListener("click", (event) => this.handleClick(event));
    this.body.addEventListener("keydown", (event) => this.handleKey(event));
    this.body.addEventListener("focusin", (event) => this.handleFocus(event));
    addEventListener("scroll", () => this.drawSoon(), { passive: true });
    addEventListener("resize", () => this.drawSoon());
    addEventListener("beforeprint", () => this.drawRows(0, Math.min(view.hosts.length, MAX_PRINTED_ROWS)));
    addEventListener("afterprint", () => this.draw());
  }

  /** Show the hosts of `view`: others than before, or the same in another order. */
  update() {
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.active = 0;
    const total = view.hosts.length;
    this.element.hidden = total === 0;
    this.element.ariaRowCount = String(total + 1);
    elementById("no-matches", HTMLParagraphElement).hidden = total > 0;
    const note = elementById("find-note", HTMLParagraphElement);
    note.hidden = total <= MAX_WHOLE_ROWS;
    note.textContent = `Find in page reaches all rows of at most ${formatNumber(MAX_WHOLE_ROWS)} hosts. For more, use the search above.`;
    for (const heading of this.headings) {
      const direction = view.descending ? "descending" : "ascending";
      heading.ariaSort = heading.dataset.column === view.sortColumn ? direction : null;
    }
    this.draw();
  }

  drawSoon() {
    if (this.drawPending) return;
    this.drawPending = true;
    requestAnimationFrame(() => {
      this.drawPending = false;
      this.draw();
    });
  }

  get rowHeight() {
    return parseFloat(getComputedStyle(this.element).getPropertyValue("--row-height")) * 16;
  }

  draw() {
    const total = view.hosts.length;
    if (total <= MAX_WHOLE_ROWS) {
      if (this.rows.size < total || total === 0) this.drawRows(0, total);
      return;
    }
    const hiddenHeight = -this.body.getBoundingClientRect().top;
    const first = Math.floor(hiddenHeight / this.rowHeight) - MARGIN_ROWS;
    const last = Math.ceil((hiddenHeight + innerHeight) / this.rowHeight) + MARGIN_ROWS;
    const begin = Math.max(0, Math.min(total, first));
    this.drawRows(begin, Math.max(begin, Math.min(total, last)));
  }

  /**
   * Let exactly these rows exist. Rows that exist already are kept, with their focus.
   * @param {number} begin
   * @param {number} end The position after the last row.
   */
  drawRows(begin, end) {
    for (const [position, row] of this.rows) {
      if (position >= begin && position < end) continue;
      row.remove();
      this.rows.delete(position);
    }
    /** @type {Element} */
    let previous = this.spaceAbove.row;
    view.hosts.slice(begin, end).forEach((host, index) => {
      const position = begin + index;
      const row = this.rows.get(position) ?? createRow(host, position);
      if (!this.rows.has(position)) previous.after(row);
      this.rows.set(position, row);
      previous = row;
    });
    this.spaceAbove.setHeight(begin * this.rowHeight);
    this.spaceBelow.setHeight((view.hosts.length - end) * this.rowHeight);
    this.setTabStop(begin);
  }

  /**
   * Let the Tab key stop once in the table: at the host that had the focus last, or at another one if it has no row.
   * @param {number} otherwise
   */
  setTabStop(otherwise) {
    const stop = this.rows.has(this.active) ? this.active : otherwise;
    for (const [position, row] of this.rows) {
      const link = row.querySelector("a");
      if (link) link.tabIndex = position === stop ? 0 : -1;
    }
  }

  /** @param {MouseEvent} event */
  handleClick(event) {
    const row = rowOf(event);
    if (!row || !(event.target instanceof Element)) return;
    const onLink = event.target.closest("a") !== null;
    const opensTab = event.ctrlKey || event.metaKey || event.shiftKey;
    if (onLink && opensTab) return;
    event.preventDefault();
    const selectsText = getSelection()?.isCollapsed === false;
    if (onLink || !selectsText) this.onOpen(positionOf(row));
  }

  /** @param {FocusEvent} event */
  handleFocus(event) {
    const row = rowOf(event);
    if (!row) return;
    this.active = positionOf(row);
    this.setTabStop(this.active);
  }

  /** @param {KeyboardEvent} event */
  handleKey(event) {
    const target = this.targetOfKey(event.key);
    if (target === null || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.focus(target);
  }

  /**
   * Return the position that a key moves the focus to, or null for other keys.
   * @param {string} key
   */
  targetOfKey(key) {
    const page = Math.max(1, Math.floor(innerHeight / this.rowHeight) - 4);
    switch (key) {
      case "ArrowDown":
        return this.active + 1;
      case "ArrowUp":
        return this.active - 1;
      case "PageDown":
        return this.active + page;
      case "PageUp":
        return this.active - page;
      case "Home":
        return 0;
      case "End":
        return view.hosts.length - 1;
      default:
        return null;
    }
  }

  /**
   * Move the focus to a host, and scroll until its row is visible.
   * @param {number} position
   */
  focus(position) {
    this.active = Math.max(0, Math.min(view.hosts.length - 1, position));
    const height = this.rowHeight;
    const top = this.body.getBoundingClientRect().top + this.active * height;
    const headingsBottom = elementById("headings", HTMLTableRowElement).getBoundingClientRect().bottom;
    if (top < headingsBottom) scrollBy(0, top - headingsBottom);
    else if (top + height > innerHeight) scrollBy(0, top + 2 * height - innerHeight);
    this.draw();
    this.rows.get(this.active)?.querySelector("a")?.focus({ preventScroll: true });
  }
}

/** @param {Column} column @param {(column: string) => void} onSort */
function createHeading(column, onSort) {
  const className = column.id.startsWith("group-") ? `${column.id} group` : column.id;
  const heading = createElement("th", className, createButton(column.title, "", () => onSort(column.id)));
  heading.scope = "col";
  heading.dataset.column = column.id;
  heading.dataset.title = column.title;
  return heading;
}

/** @param {Host} host @param {number} position Among the shown hosts. */
function createRow(host, position) {
  const nextStep = host.nextStep ?? "";
  const isLong = host.name.length > LONG_NAME;
  const link = createElement("a", "", host.name);
  link.href = `#host=${encodeURIComponent(host.name)}`;
  const name = createElement("th", isLong ? "host long" : "host", link, createElement("span", "narrow-step", nextStep));
  name.scope = "row";
  name.title = host.name;
  const cells = COLUMNS.slice(1).map((column) => createCell(column, host));
  const row = createElement("tr", "host", name, ...cells);
  row.dataset.position = String(position);
  row.ariaRowIndex = String(position + 2);
  return row;
}

/** @param {Column} column @param {Host} host */
function createCell(column, host) {
  if (column.id === "state") return createElement("td", "state", createStateLabel(host.state));
  const text = column.text(host);
  const cell = createElement("td", column.id, column.id === "step" ? createElement("span", "lines", text ?? "–") : (text ?? "–"));
  if (column.id === "step" || column.id.startsWith("group-")) cell.title = text ?? "";
  if (column.id.startsWith("group-")) cell.classList.add("group");
  if (column.id === "upgrade" && isPastDate(text)) cell.append(createElement("strong", "overdue", "overdue"));
  return cell;
}

/**
 * Return the row of a host in which an event happened.
 * @param {Event} event
 */
function rowOf(event) {
  return event.target instanceof Element ? event.target.closest("tr") : null;
}

/** @param {HTMLTableRowElement} row */
function positionOf(row) {
  return Number(row.dataset.position);
}
