// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// Types of the page's data and of what its scripts share. The page itself does not contain this file.
// `nox -s page` checks the scripts and a sample report against it.

type State =
  | "no_answer"
  | "tampered"
  | "ineligible"
  | "held_back"
  | "failed"
  | "end_of_life"
  | "upgrade_required"
  | "disabled"
  | "stale"
  | "applying"
  | "unverified"
  | "exposed"
  | "unknown"
  | "protected";

/** How good or bad a state is. Selects its colour and the shape of its mark. */
type Tone = "good" | "pending" | "action" | "bad" | "excluded" | "unknown";

// ---- The report as html.py writes it. Times are RFC 3339 in UTC. ----

interface ReportData {
  /** All states, the most urgent one first. Hosts name their state by its place here. */
  states: State[];
  title: string;
  /** The files of the inventory, or an empty text. */
  inventory: string;
  /** The pattern that limits the report to a part of the fleet. */
  limit: string | null;
  /** The keys of groups that the report shows. */
  group_keys: string[];
  oldest_record: string | null;
  newest_record: string | null;
  left_out: number;
  covered_by_other_policies: Record<string, number>;
  problems: Problem[];
  rules: Rule[];
  fleet_findings: Finding[];
  fleet_waived: WaivedFinding[];
  waivers: Waiver[];
  /** Null for a report without vulnerability data. */
  vulnerabilities: Vulnerabilities | null;
  history: FleetHistory | null;
  /** Hosts (arrays), each after the parts (objects) that it refers to. Parts are numbered from 0 in this order. */
  stream: (Part | RecordedRow | UnreachableRow)[];
}

type PartNumber = number;

type RecordedRow = [
  name: string,
  state: number,
  findings: PartNumber | null,
  groups: PartNumber | null,
  assessment: PartNumber,
  eligibility: PartNumber,
  patch: PartNumber,
  modules: PartNumber,
  collector: PartNumber,
  system: PartNumber,
  client: PartNumber,
  collectedAt: string,
  bootedAt: string | null,
  lastCheck: string | null,
  patchRuns: boolean,
];

/** A host without a usable record of this run. The last three describe its previous record, if there is one. */
type UnreachableRow = [
  name: string,
  state: number,
  findings: PartNumber | null,
  groups: PartNumber | null,
  assessment: PartNumber,
  attemptedAt: string | null,
  collectedAt: string | null,
  state: State | null,
  containers: number | null,
];

type Part = Assessment | Client | Collector | Eligibility | EligibilityCheck | Findings | Groups | Modules | Patch | System;

/** The groups of a host by key: "group" for groups of the inventory, and names of host variables. */
interface Groups {
  groups: Record<string, string>;
}

interface Problem {
  id: string;
  path: string;
  message: string;
  host: string | null;
}

interface Rule {
  id: string;
  severity: "error" | "warning" | "info";
  description: string;
  remedy: string | null;
  /** True for a rule that is evaluated once for the whole fleet, not for each host. */
  of_fleet: boolean;
}

interface Finding {
  rule: string;
  message: string;
}

/** A finding that a waiver covers. `waiver` is a sentence with reason, owner and last day. */
interface WaivedFinding extends Finding {
  waiver: string;
}

interface Findings {
  findings: Finding[];
  waived: WaivedFinding[];
}

interface Waiver {
  /** What the waiver covers: rule, CVE, host, group. */
  scope: string;
  reason: string;
  owner: string;
  /** YYYY-MM-DD */
  expires: string;
  status: "active" | "expiring" | "expired";
  /** Number of findings that it covers. */
  findings: number;
}

interface Reason {
  id: string;
  message: string;
  remedy: string | null;
}

interface Assessment {
  reasons: Reason[];
  reboot_needed: boolean | null;
}

interface EligibilityCheck {
  id: string;
  status: "pass" | "fail" | "warn" | "unknown";
  found: string | null;
  required: string | null;
  message: string;
  remedy: string | null;
}

interface Eligibility {
  policy: string;
  verdict: "eligible" | "ineligible" | "unknown";
  checks: PartNumber[];
}

interface Patch {
  state: string | null;
  version: string | null;
  support: string | null;
  upgrade_required_by: string | null;
  /** CVEs that the client reports as patched, and as not patched. */
  closed: string[];
  open: string[];
}

interface LoadedPatch {
  module: string;
  enabled: boolean | null;
  transition: boolean | null;
  build_id: string | null;
  taint: string | null;
  verification: {
    level: "file" | "digest" | "kernel" | "client" | "none";
    result: string;
    signer: string | null;
    key_id: string | null;
    sha512: string | null;
  };
}

interface Modules {
  modules: LoadedPatch[];
}

interface Collector {
  collection: string;
  ansible_core: string;
}

interface Client {
  installed: boolean | null;
  snapd_version: string | null;
  version: string | null;
  generation: string | null;
  enabled: boolean | null;
  tier: string | null;
  server: string | null;
  check_state: string | null;
}

interface System {
  distribution: string | null;
  release: string | null;
  codename: string | null;
  architecture: string | null;
  virtualization: string | null;
  containers: {
    docker: number | null;
    lxd: number | null;
    podman: number | null;
    kubernetes?: number | null;
    containerd?: number | null;
  };
  secure_boot: boolean | null;
  kernel: {
    release: string | null;
    full: string | null;
    series: string | null;
    flavour: string | null;
    origin: "ubuntu" | "mainline" | "custom" | "unknown";
    build_date: string | null;
    newest_installed: string | null;
  };
}

interface FleetHistory {
  begins_at: string | null;
  time_to_patch: { exposures: number; mean_days: number; p95_days: number } | null;
  /** Pairs of a host and a CVE. Null where the report was made without notices. */
  open_exposures: number | null;
  closed_before: number | null;
  days: HistoryDay[];
  cves: HistoryCve[];
  /** Null if no report with vulnerability data was stored. */
  vulnerabilities: CveHistory | null;
}

interface CveHistory {
  /** The numbers of open vulnerabilities by priority, in the last report of each day. */
  days: { date: string; open: Record<string, number> }[];
  time_to_close: Record<string, { open: number; closed: number; mean_days: number | null }>;
}

interface HistoryDay {
  /** YYYY-MM-DD */
  date: string;
  /** Number of hosts. States without hosts are left out. */
  states: Partial<Record<State, number>>;
}

interface HistoryCve {
  cve: string;
  published: string;
  hosts_open: number;
  hosts_closed: number;
  mean_days: number | null;
  p95_days: number | null;
}

/** A host is counted as waived if a vulnerability is open or unknown on it, and a waiver covers that. */
type CveStatus = "open" | "unknown" | "waived" | "live_patched" | "fixed" | "not_affected";

/** The vulnerabilities that are open on a host, the most urgent first. */
interface Vulnerabilities {
  minimum_priority: string;
  /** Number of vulnerabilities that were evaluated. */
  evaluated: number;
  oldest_data: string | null;
  left_out: number;
  /** Each host counts once, by its most urgent status. */
  hosts_by_status: Record<CveStatus, number>;
  /** Hosts with equal evidence, each by its place among the hosts of the report. */
  kinds: number[][];
  evaluations: CveEvaluation[];
  cves: OpenCve[];
}

interface OpenCve {
  cve: string;
  priority: string | null;
  published: string | null;
  /** Number of hosts with each status: they add up to all hosts. */
  counts: Record<CveStatus, number>;
  groups: [evaluation: number, kinds: number[]][];
}

interface CveEvaluation {
  status: CveStatus;
  fix: "patch" | "reboot" | "kernel" | "none" | null;
  source_package: string | null;
  source_derived: boolean;
  fixed_in: string | null;
  patch: string | null;
  evidence: "client" | "package_data" | "notice" | null;
  reason: string | null;
  message: string | null;
  /** The state of the hosts, if the next step solves its problem first. */
  state: string | null;
  next_step: string | null;
  /** The next step with `{hosts}` in place of names. */
  step_for: string | null;
  waived: { reason: string; owner: string; expires: string } | null;
}

// ---- What the scripts make of it. ----

/** The newest record of a host. */
interface HostRecord {
  eligibility: Eligibility;
  patch: Patch;
  modules: Modules;
  collector: Collector;
  system: System;
  client: Client;
  collectedAt: string;
  bootedAt: string | null;
  lastCheck: string | null;
  /** True if the record shows that the patch whose CVEs it lists runs. */
  patchRuns: boolean;
}

/** What is known of a host without a usable record of this run. */
interface LastContact {
  attemptedAt: string | null;
  collectedAt: string | null;
  state: State | null;
  containers: number | null;
}

/** Hosts that have a value in common, counted. */
interface HostGroup {
  label: string;
  /** The fragment of the address that shows these hosts. Null where none does. */
  address: string | null;
  hosts: number;
  eligible: number;
  tones: Map<Tone, number>;
}
