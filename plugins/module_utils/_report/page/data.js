// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// Reads the data of the report: its hosts, each with the parts that it shares with other hosts.

const LONGEST_AGE_HOURS = 24;

class Host {
  /**
   * @param {string} name
   * @param {State} state
   * @param {number} position In the order of the report: by urgency of the state, then by name.
   * @param {Assessment} assessment
   * @param {Findings | null} findings
   * @param {Record<string, string>} groups By key: "group", and names of host variables.
   * @param {HostRecord | null} record
   * @param {LastContact | null} lastContact Null for a host with a record.
   */
  constructor(name, state, position, assessment, findings, groups, record, lastContact) {
    this.name = name;
    this.state = state;
    this.position = position;
    this.assessment = assessment;
    this.findings = findings;
    this.groups = groups;
    this.record = record;
    this.lastContact = lastContact;
  }

  get kernelName() {
    return this.record && (this.record.system.kernel.full || this.record.system.kernel.release);
  }

  get patchVersion() {
    return this.record && this.record.patch.version;
  }

  get clientVersion() {
    return this.record && this.record.client.version;
  }

  get release() {
    return this.record && this.record.system.release;
  }

  get upgradeBy() {
    return this.record && this.record.patch.upgrade_required_by;
  }

  get support() {
    return this.record && this.record.patch.support;
  }

  /** The number of containers that run on an unprotected kernel. For a host that gave no answer, the last known number. */
  get exposedContainers() {
    if (this.state === "protected") return 0;
    if (!this.record) return this.lastContact?.containers ?? 0;
    const counts = Object.values(this.record.system.containers);
    return counts.reduce((/** @type {number} */ sum, count) => sum + (count ?? 0), 0);
  }

  /** True for a host that was protected in a record that is too old to prove it, as in the rule not_protected. */
  get isOutdated() {
    const hours = (Date.parse(generatedAt) - Date.parse(this.record?.collectedAt ?? "")) / 3_600_000;
    return this.state === "protected" && hours > LONGEST_AGE_HOURS;
  }

  get nextStep() {
    const reason = this.assessment.reasons[0];
    const step = reason ? reason.remedy || reason.message : null;
    if (!this.lastContact?.state) return step;
    return `${step ?? ""} (last seen ${formatTime(this.lastContact.collectedAt)}, ${stateName(this.lastContact.state).toLowerCase()})`;
  }
}

/** @type {Part[]} What hosts have in common. Hosts and other parts refer to a part by its place here. */
const parts = [];
/** @type {Host[]} */
const hosts = [];
const report = readReport();
const generatedAt = elementById("generated", HTMLTimeElement).textContent;

function readReport() {
  const text = elementById("report-data", HTMLScriptElement).text;
  /** @type {ReportData} */
  // eslint-disable-next-line @typescript-eslint/no-unsafe-assignment -- the type is checked against a sample report
  const data = JSON.parse(text);
  for (const item of data.stream) {
    if (Array.isArray(item)) hosts.push(createHost(item, data.states));
    else parts.push(item);
  }
  data.stream = []; // most of the data, and no longer needed
  return data;
}

/**
 * @param {RecordedRow | UnreachableRow} row
 * @param {State[]} states
 */
function createHost(row, states) {
  const [name, stateNumber, findingsPart, groupsPart, assessmentPart] = row;
  const state = states[stateNumber] ?? "unknown";
  /** @type {Findings | null} */
  const findings = findingsPart === null ? null : part(findingsPart);
  /** @type {Groups | null} */
  const groups = groupsPart === null ? null : part(groupsPart);
  const isRecorded = row.length === 15;
  const record = isRecorded ? createRecord(row) : null;
  const lastContact = isRecorded ? null : createLastContact(row);
  return new Host(name, state, hosts.length, part(assessmentPart), findings, groups?.groups ?? {}, record, lastContact);
}

/**
 * @param {RecordedRow} row
 * @returns {HostRecord}
 */
function createRecord(row) {
  const [, , , , , eligibility, patch, modules, collector, system, client, collectedAt, bootedAt, lastCheck, patchRuns] =
    row;
  return {
    eligibility: part(eligibility),
    patch: part(patch),
    modules: part(modules),
    collector: part(collector),
    system: part(system),
    client: part(client),
    collectedAt,
    bootedAt,
    lastCheck,
    patchRuns,
  };
}

/**
 * @param {UnreachableRow} row
 * @returns {LastContact}
 */
function createLastContact(row) {
  const [, , , , , attemptedAt, collectedAt, state, containers] = row;
  return { attemptedAt, collectedAt, state, containers };
}

/**
 * Return a part. Its type follows from the member of the row that refers to it.
 * @template {Part} Type
 * @param {PartNumber} number
 */
function part(number) {
  return /** @type {Type} */ (parts[number]);
}

/** @param {Eligibility} eligibility */
function checksOf(eligibility) {
  return eligibility.checks.map((number) => /** @type {EligibilityCheck} */ (parts[number]));
}

/**
 * Return how long before the report a time was, or an empty text for less than two minutes or an invalid time.
 * @param {string | null} time
 */
function formatAge(time) {
  const seconds = (Date.parse(generatedAt) - Date.parse(time ?? "")) / 1000;
  if (seconds >= 2 * 86400) return `${formatCount(Math.floor(seconds / 86400), "day")} before the report`;
  if (seconds >= 2 * 3600) return `${formatCount(Math.floor(seconds / 3600), "hour")} before the report`;
  if (seconds >= 2 * 60) return `${formatCount(Math.floor(seconds / 60), "minute")} before the report`;
  return "";
}

/**
 * Return true for a date (YYYY-MM-DD) before that of the report. Other texts are no dates and never past.
 * @param {string | null} text
 */
function isPastDate(text) {
  return text !== null && /^\d{4}-\d\d-\d\d$/.test(text) && text < generatedAt.slice(0, 10);
}

/**
 * Count how often each value occurs.
 * @template Value
 * @param {Iterable<Value>} values
 */
function countValues(values) {
  /** @type {Map<Value, number>} */
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/**
 * Return a key that sorts numbers by their value: web2 before web10.
 * @param {string} text
 */
function naturalSortKey(text) {
  return text.replace(/\d+/g, (digits) => digits.padStart(20, "0")).toLowerCase();
}

/** @param {string} first @param {string} second */
function compareTexts(first, second) {
  if (first === second) return 0;
  return first < second ? -1 : 1;
}
