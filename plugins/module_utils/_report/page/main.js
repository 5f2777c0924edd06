// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// What a reader does, and what then changes.

const search = document.getElementById("search");
const clear = document.getElementById("clear");
const theme = document.getElementById("theme");

const table = new HostTable({
  onOpen: (place) => open(view.shown[place], place),
  onSort: (column) => {
    view.descending = view.column === column && !view.descending;
    view.column = column;
    update();
  },
});

const details = new Details({
  onClose: () => {
    const place = view.shown.findIndex((host) => host.name === openedName);
    openedName = null;
    keepAddress();
    if (place >= 0) table.focus(place);
  },
  onStep: (place) => open(view.shown[place], place),
});

function open(host, place) {
  openedName = host.name;
  keepAddress();
  details.show(host, place);
}

function update(pause) {
  choose();
  table.show();
  const narrowed = view.states.size > 0 || view.query !== "";
  clear.hidden = !narrowed;
  for (const filter of document.querySelectorAll("#states button")) {
    filter.setAttribute("aria-pressed", String(view.states.has(filter.dataset.state)));
  }
  const states = [...view.states].join(", ");
  const all = count(hosts.length, "host");
  const found = narrowed ? `${number(view.shown.length)} of ${all}${states && ` · ${states}`}` : all;
  document.getElementById("found").textContent = found + vulnerability();
  keepAddress(pause);
}

function toggleState(state) {
  if (!view.states.delete(state)) view.states.add(state);
  update();
}

function follow() {
  const { states, query, host: name } = readAddress();
  Object.assign(view, { states, query });
  search.value = query;
  update();
  if (name === null) {
    if (details.element.open) details.element.close();
    return;
  }
  const host = hosts.find((each) => each.name === name);
  if (host) open(host, view.shown.indexOf(host));
  else document.getElementById("found").textContent = `There is no host ${name} in this report.`;
}

function showTheme() {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  theme.textContent = dark ? "Light" : "Dark";
  theme.setAttribute("aria-label", `Switch to ${dark ? "light" : "dark"} colours`);
}

function showTimes() {
  const { left_out: leftOut } = fleet;
  const [oldest, newest] = [moment(fleet.oldest_record), moment(fleet.newest_record)];
  const made = document.getElementById("made");
  made.dateTime = madeAt;
  made.textContent = moment(madeAt);
  const words = [];
  if (oldest) words.push(`records of ${oldest === newest ? oldest : `${oldest} to ${newest}`}`);
  if (leftOut) words.push(`${count(leftOut, "host")} with records not asked for`);
  document.getElementById("collected").textContent = words.map((word) => ` · ${word}`).join("");
}

theme.addEventListener("click", () => {
  const { style } = document.documentElement;
  style.colorScheme = getComputedStyle(document.documentElement).colorScheme === "dark" ? "light" : "dark";
  showTheme();
});

search.addEventListener("input", () => {
  view.query = search.value.trim();
  update(300);
});

clear.addEventListener("click", () => {
  view.states.clear();
  view.query = search.value = "";
  update();
  search.focus();
});

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("hosts").focus();
});

// What a chart, rule or vulnerability links to is shown in the table.
for (const id of ["charts", "history"]) {
  document.getElementById(id).addEventListener("click", (event) => {
    if (event.target.closest("a")) document.getElementById("hosts").scrollIntoView();
  });
}

// On paper nothing can be unfolded.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    addEventListener("afterprint", () => { folded.open = false; }, { once: true });
  }
});

addEventListener("hashchange", follow);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
showTimes();
showTheme();
showTotals(toggleState);
showCharts();
showHistory();
showProblems();
follow();
