// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// Takes what is shown out of the page: to the clipboard, and as a file.

/** Ansible reads other names as patterns. */
const PLAIN_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;

const MAX_NAMES_ON_COMMAND_LINE = 500;
const CSV_FORMULA = /^\s*[=+\-@＝＋－＠]/;
const CSV_NUMBER = /^[0-9][0-9.,:/-]*$/;
const VERSION_COLUMNS = new Set(["release", "patch", "client"]);

/**
 * Create a button that copies a text. Where the browser does not permit it, the text is shown for copying by hand.
 * @param {string} label
 * @param {() => string} createText
 */
function copyButton(label, createText) {
  const holder = createElement("div", "copy");
  const button = createButton(label, "plain", () => {
    const text = createText();
    const copied = () => {
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = label), 2000);
    };
    const refused = () => {
      const field = createElement("textarea", "", text);
      field.readOnly = true;
      field.rows = Math.min(8, text.split("\n").length + 1);
      field.ariaLabel = "Text to copy";
      holder.querySelector("textarea")?.remove();
      holder.append(field);
      field.select();
    };
    if (text) navigator.clipboard.writeText(text).then(copied, refused);
  });
  holder.append(button);
  return holder;
}

/** Return the option of ansible-playbook that selects the shown hosts. */
function limitOption() {
  const names = view.hosts.map(({ name }) => name).filter((name) => PLAIN_NAME.test(name));
  const left = view.hosts.length - names.length;
  const note = left > 0 ? `  # ${formatCount(left, "host")} left out, whose names are not plain` : "";
  return names.length > 0 ? `--limit '${names.join(",")}'${note}` : "";
}

function limitNote() {
  if (view.hosts.length <= MAX_NAMES_ON_COMMAND_LINE) return "";
  return "For this many hosts, download the list, and use --limit @hosts.txt";
}

/** @param {string} name @param {string} type @param {string} text */
function download(name, type, text) {
  const link = createElement("a", "");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function downloadNames() {
  const names = view.hosts.map(({ name }) => name).filter((name) => PLAIN_NAME.test(name));
  download("hosts.txt", "text/plain", names.map((name) => `${name}\n`).join(""));
}

function downloadCsv() {
  const rows = view.hosts.map((host) => COLUMNS.map((column) => csvCell(column, column.text(host) ?? "")));
  const lines = [COLUMNS.map(({ id }) => id), ...rows].map((cells) => `${cells.join(",")}\r\n`);
  download("hosts.csv", "text/csv", lines.join(""));
}

/**
 * Return a cell in which a spreadsheet finds neither a formula nor, in a version, a number.
 * @param {Column} column
 * @param {string} text
 */
function csvCell({ id }, text) {
  const guarded = CSV_FORMULA.test(text) || (VERSION_COLUMNS.has(id) && CSV_NUMBER.test(text)) ? `'${text}` : text;
  return /[",\r\n]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
}
