// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// Connects the parts of the page: what happens on input, and how the address keeps what is shown.

const ADDRESS_DELAY = 300; // milliseconds; browsers limit how often a page may change its address

const searchField = elementById("search", HTMLInputElement);
const themeButton = elementById("theme", HTMLButtonElement);
const clearButton = elementById("clear-filters", HTMLButtonElement);
const matches = elementById("matches", HTMLParagraphElement);

/** @type {string | null} */
let openHostName = null;
let addressTimer = 0;

const choices = createChoices();
const table = new HostsTable(openHostAt, sortBy);
const details = new HostDetails(openHostAt, handleClosedDetails);

/** @param {number} position Among the shown hosts. */
function openHostAt(position) {
  const host = view.hosts[position];
  if (host) openHost(host, position);
}

/** @param {Host} host @param {number} position */
function openHost(host, position) {
  openHostName = host.name;
  updateAddress();
  details.show(host, position);
}

function handleClosedDetails() {
  const position = view.hosts.findIndex((host) => host.name === openHostName);
  openHostName = null;
  updateAddress();
  if (position >= 0) table.focus(position);
}

/** @param {string} column */
function sortBy(column) {
  view.descending = view.sortColumn === column && !view.descending;
  view.sortColumn = column;
  updatePage();
}

/** @param {State} state */
function toggleState(state) {
  if (view.states.has(state)) view.states.delete(state);
  else view.states.add(state);
  updatePage();
}

/** @param {number} addressDelay */
function updatePage(addressDelay = 0) {
  updateShownHosts();
  table.update();
  clearButton.hidden = view.states.size === 0 && view.query === "" && view.chosen.size === 0;
  for (const [key, choice] of choices) choice.value = view.chosen.get(key) ?? "";
  elementById("limit-note", HTMLSpanElement).textContent = limitNote();
  /** @type {Set<string | undefined>} */
  const selected = new Set(view.states);
  for (const filter of elementById("states", HTMLDivElement).querySelectorAll("button")) {
    filter.ariaPressed = String(selected.has(filter.dataset.state));
  }
  matches.textContent = describeMatches();
  updateAddress(addressDelay);
}

function describeMatches() {
  const texts = [formatCount(hosts.length, "host")];
  if (!clearButton.hidden) texts[0] = `${formatNumber(view.hosts.length)} of ${texts[0]}`;
  if (view.states.size > 0) texts.push([...view.states].map(stateName).join(", "));
  for (const [key, value] of view.chosen) texts.push(`${key} ${value}`);
  const cve = describeSearchedCve();
  if (cve) texts.push(cve);
  return texts.join(" · ");
}

/**
 * Keep the filters, the search and the open host in the address, so that a reader can copy it.
 * @param {number} delay
 */
function updateAddress(delay = 0) {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => history.replaceState(null, "", currentAddress()), delay);
}

function currentAddress() {
  const words = [];
  if (view.states.size > 0) words.push(`state=${[...view.states].join(",")}`);
  for (const [key, value] of view.chosen) words.push(`in=${encodeURIComponent(`${key}:${value}`)}`);
  if (view.query) words.push(`q=${encodeURIComponent(view.query)}`);
  if (openHostName !== null) words.push(`host=${encodeURIComponent(openHostName)}`);
  return `#${words.join("&")}`;
}

/** Show what the address says. */
function followAddress() {
  const words = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));
  const states = new Set((words.get("state") ?? "").split(","));
  view.states = new Set(report.states.filter((state) => states.has(state)));
  view.chosen = new Map(words.getAll("in").map((word) => splitChoice(word)).filter(([key]) => key in CHOICES));
  view.query = words.get("q") ?? "";
  searchField.value = view.query;
  updatePage();
  const name = words.get("host");
  if (name === null) {
    details.element.close();
    return;
  }
  const host = hosts.find((each) => each.name === name);
  if (host) openHost(host, view.hosts.indexOf(host));
  else matches.textContent = `Host ${name} is not in this report.`;
}

/** @param {string} word @returns {[key: string, value: string]} */
function splitChoice(word) {
  const end = word.indexOf(":");
  return [word.slice(0, end), word.slice(end + 1)];
}

/** Create a list of values for each key that has more than one. */
function createChoices() {
  /** @type {Map<string, HTMLSelectElement>} */
  const created = new Map();
  for (const [key, textOf] of Object.entries(CHOICES)) {
    const values = [...new Set(hosts.map(textOf))].filter((value) => value !== null);
    if (values.length < 2) continue;
    const select = createElement("select", "plain", new Option(`All (${key})`, ""));
    values.sort((one, other) => compareTexts(naturalSortKey(one), naturalSortKey(other)));
    select.append(...values.map((value) => new Option(value, value)));
    select.ariaLabel = `Filter hosts by ${key}`;
    select.addEventListener("change", () => {
      if (select.value) view.chosen.set(key, select.value);
      else view.chosen.delete(key);
      updatePage();
    });
    created.set(key, select);
  }
  return created;
}

function showActions() {
  const holder = elementById("actions", HTMLDivElement);
  holder.append(
    ...choices.values(),
    copyButton("Copy --limit", limitOption),
    createButton("Download hosts.txt", "plain", downloadNames),
    createButton("Download CSV", "plain", downloadCsv),
    createElement("span", "muted"),
  );
  const note = holder.querySelector("span");
  if (note) note.id = "limit-note";
}

function usesDarkTheme() {
  return getComputedStyle(document.documentElement).colorScheme === "dark";
}

function updateThemeButton() {
  const other = usesDarkTheme() ? "light" : "dark";
  themeButton.textContent = usesDarkTheme() ? "Light" : "Dark";
  themeButton.ariaLabel = `Switch to the ${other} theme`;
}

themeButton.addEventListener("click", () => {
  document.documentElement.style.colorScheme = usesDarkTheme() ? "light" : "dark";
  updateThemeButton();
});

searchField.addEventListener("input", () => {
  view.query = searchField.value.trim();
  updatePage(ADDRESS_DELAY);
});

clearButton.addEventListener("click", () => {
  view.states.clear();
  view.chosen.clear();
  view.query = "";
  searchField.value = "";
  updatePage();
  searchField.focus();
});

elementById("skip", HTMLAnchorElement).addEventListener("click", (event) => {
  event.preventDefault();
  elementById("hosts", HTMLElement).focus();
});

// Links of charts, rules and CVEs filter the table: scroll to it.
for (const id of ["figures", "board", "charts", "history"]) {
  elementById(id, HTMLElement).addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.closest("a:not([href^='#host'])")) elementById("hosts", HTMLElement).scrollIntoView();
  });
}

// Paper cannot be expanded, so everything is expanded while the page is printed.
addEventListener("beforeprint", () => {
  for (const block of document.querySelectorAll("details")) {
    if (block.open) continue;
    block.open = true;
    addEventListener("afterprint", () => (block.open = false), { once: true });
  }
});

addEventListener("hashchange", followAddress);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", updateThemeButton);

document.documentElement.dataset.script = "on"; // shows what needs a script
showTimes();
updateThemeButton();
showOverview();
showStates(toggleState);
showOtherPolicies();
showVulnerabilities();
showHistory();
showGroups();
showWorstHosts();
showCharts();
showRules();
showWaivers();
showActions();
showProblems();
followAddress();
