// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// The fleet, as the report wrote it: parts that hosts share, and hosts that name their parts by number.

const NONE = "none";
const TONES = {
  unreachable: "unknown",
  tampered: "broken",
  ineligible: "outside",
  failed: "broken",
  end_of_life: "broken",
  upgrade_required: "wanting",
  disabled: "wanting",
  stale: "wanting",
  applying: "waiting",
  unverified: "waiting",
  unknown: "unknown",
  protected: "well",
};

const fleet = JSON.parse(document.getElementById("fleet").textContent);
const madeAt = document.getElementById("made").textContent;
const parts = [];
const hosts = [];

class Host {
  constructor(row, place) {
    this.place = place; // in the order of the report: by urgency of the state, then by name
    [this.name, this.stateRank, this.findingsPart, this.assessmentPart] = row;
    this.recorded = row.length > 8;
    if (this.recorded) {
      [this.eligibilityPart, this.patchPart, this.modulesPart, this.collectorPart] = row.slice(4, 8);
      [this.systemPart, this.clientPart, this.collectedAt, this.bootedAt, this.lastCheck] = row.slice(8);
    } else {
      [this.attemptedAt, this.collectedAt, this.lastState, this.lastContainers] = row.slice(4);
    }
  }

  get state() { return fleet.states[this.stateRank]; }
  get findings() { return this.findingsPart === null ? [] : parts[this.findingsPart].findings; }
  get assessment() { return parts[this.assessmentPart]; }
  get eligibility() { return this.recorded ? parts[this.eligibilityPart] : null; }
  get checks() { return this.recorded ? this.eligibility.checks.map((number) => parts[number]) : []; }
  get patch() { return this.recorded ? parts[this.patchPart] : null; }
  get modules() { return this.recorded ? parts[this.modulesPart].modules : []; }
  get system() { return this.recorded ? parts[this.systemPart] : null; }
  get client() { return this.recorded ? parts[this.clientPart] : null; }
  get collector() { return this.recorded ? parts[this.collectorPart] : null; }

  get kernel() { return this.recorded ? this.system.kernel.full || this.system.kernel.release : null; }
  get patchVersion() { return this.recorded ? this.patch.version : null; }
  get clientVersion() { return this.recorded ? this.client.version : null; }
  get upgradeBy() { return this.recorded ? this.patch.upgrade_required_by || this.patch.support : null; }

  // Containers on a kernel that is not protected; of an unreachable host, as last seen.
  get exposes() {
    if (this.state === "protected") return 0;
    if (!this.recorded) return this.lastContainers ?? 0;
    return Object.values(this.system.containers).reduce((sum, running) => sum + (running ?? 0), 0);
  }

  get nextStep() {
    const [reason] = this.assessment.reasons;
    const step = reason ? reason.remedy || reason.message : null;
    return this.lastState ? `last seen ${this.collectedAt}, ${this.lastState}; ${step}` : step;
  }
}

for (const item of fleet.stream) {
  if (Array.isArray(item)) hosts.push(new Host(item, hosts.length));
  else parts.push(item);
}
delete fleet.stream;

function tally(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

// Digits by their value, so that web2 comes before web10.
function natural(text) {
  return text.replace(/\d+/g, (digits) => digits.padStart(20, "0")).toLowerCase();
}

function compare(one, other) {
  return one < other ? -1 : Number(one > other);
}
