// The wire, rendered from coder/model and coder/protocol.py. Not edited: run `python -m tests.wire_types`.

export const SUBPROTOCOL = "coder.v1";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface Page<Item> {
  items: Item[];
  next: string | null;
}

export interface Ack {
  type: "ack";
  id: string;
  result: Task | PermissionRequest | null;
}

export interface AgentSession {
  session_id: string;
  agent: string;
  backend: "acp_warm" | "opencode_server";
  agent_session_id: string | null;
  server_port: number | null;
  status: AgentSessionStatus;
  last_active_at: string;
  model: string | null;
  mode_id: string | null;
  thinking_option_id: string | null;
  can_steer: boolean;
  sandbox: "bubblewrap" | "landlock" | "none" | null;
  can_resume: boolean;
}

export type AgentSessionStatus = "idle" | "active" | "crashed" | "closed";

export interface AgentStatusChanged {
  type: "agent_status";
  agent: string;
  status: "cold" | "starting" | "waking" | "idle" | "working" | "closing" | "crashed" | "error";
  message: string | null;
  can_steer: boolean | null;
  sandbox: "bubblewrap" | "landlock" | "none" | null;
}

export interface Anchor {
  side: "base" | "new";
  line: number;
  text: string;
  before: string[];
  after: string[];
}

export interface ApplyChange {
  hunks?: (string | HunkLines)[] | null;
  target?: "checkout" | "branch";
  reason?: string | null;
}

export interface ApplyChanges {
  changes?: ChosenChange[] | null;
  target?: "checkout" | "branch";
  reason?: string | null;
}

export interface Attachment {
  name: string;
  mime_type: string;
  data: string | null;
  uri: string | null;
}

export interface AuthMethod {
  id: string;
  name: string;
  description: string | null;
  command: string[] | null;
}

export interface AvailableAgent {
  id: string;
  install_path: string | null;
  version: string | null;
  probe: ProbeResult | null;
  probed_at: string | null;
}

export interface BranchCommit {
  session_id: string;
  branch: string;
  commit: string;
  parent: string;
  files: number;
  agents: string[];
  changes: string[];
}

export interface BranchIncoming {
  how?: "merge" | "rebase";
  on_conflict?: "abort" | "agent";
  agent?: string | null;
}

export interface BranchMove {
  branch: string;
  old: string;
  new: string;
}

export interface BranchStatus {
  session_id: string;
  branch: string;
  head: string | null;
  default_branch: string | null;
  default_head: string | null;
  merge_base: string | null;
  ahead: number | null;
  behind: number | null;
  uncommitted: number | null;
  applied: number | null;
  problem: Fault | null;
}

export interface BranchUpdate {
  session_id: string;
  outcome: "up_to_date" | "fast_forward" | "merged" | "rebased";
  head: string;
  incoming: string;
  files: number;
  conflicts: string[];
  task: Task | null;
}

export interface Cancel {
  type: "cancel";
  id: string;
  task_id: string;
}

export interface Change {
  file_path: string;
  old_path: string | null;
  operation: "create" | "edit" | "delete" | "rename";
  base_blob: string | null;
  new_blob: string | null;
  base_mode: string | null;
  new_mode: string | null;
  is_binary: boolean;
  added_lines: number;
  deleted_lines: number;
  id: string;
  session_id: string;
  task_id: string | null;
  agent: string;
  status: ChangeStatus;
  created_at: string;
  decided_at: string | null;
  decided_by: string | null;
  reason: string | null;
  contributors: string[];
  is_secret: boolean;
  split_from: string | null;
  target: "checkout" | "branch" | null;
  commit: string | null;
  decision_id: string | null;
  queued: QueuedDecision[];
}

export interface ChangeDecided {
  type: "change_decided";
  change: Change;
}

export interface ChangeDetail {
  file_path: string;
  old_path: string | null;
  operation: "create" | "edit" | "delete" | "rename";
  base_blob: string | null;
  new_blob: string | null;
  base_mode: string | null;
  new_mode: string | null;
  is_binary: boolean;
  added_lines: number;
  deleted_lines: number;
  id: string;
  session_id: string;
  task_id: string | null;
  agent: string;
  status: ChangeStatus;
  created_at: string;
  decided_at: string | null;
  decided_by: string | null;
  reason: string | null;
  contributors: string[];
  is_secret: boolean;
  split_from: string | null;
  target: "checkout" | "branch" | null;
  commit: string | null;
  decision_id: string | null;
  queued: QueuedDecision[];
  diff: string;
  hunks: Hunk[];
  omitted: "binary" | "large" | null;
}

export interface ChangeLines {
  side: "base" | "new";
  blob: string | null;
  first: number;
  lines: string[];
  total: number;
}

export interface ChangeRecorded {
  type: "change_recorded";
  change: Change;
}

export type ChangeStatus = "pending" | "applied" | "rejected" | "reverted" | "superseded";

export interface Checkpoint {
  id: string;
  session_id: string;
  task_id: string | null;
  agent: string | null;
  kind: "opened" | "turn" | "restore" | "update";
  tree: string;
  seq: number;
  created_at: string;
}

export interface CheckpointDetail {
  id: string;
  session_id: string;
  task_id: string | null;
  agent: string | null;
  kind: "opened" | "turn" | "restore" | "update";
  tree: string;
  seq: number;
  created_at: string;
  differences: FileDifference[];
  conversations: string[];
}

export interface CheckpointRecorded {
  type: "checkpoint_recorded";
  checkpoint: Checkpoint;
}

export interface ChosenChange {
  id: string;
  hunks?: (string | HunkLines)[] | null;
}

export interface Command {
  name: string;
  description: string;
  hint: string | null;
}

export interface Commands {
  type: "commands";
  commands: Command[];
}

export interface Comment {
  side: "base" | "new";
  line: number;
  text: string;
  before: string[];
  after: string[];
  id: string;
  session_id: string;
  change_id: string;
  file_path: string;
  blob: string;
  body: string;
  by: string;
  status: CommentStatus;
  replies: Reply[];
  created_at: string;
  resolved_at: string | null;
  resolved_by: string | null;
  reason: string | null;
  task_id: string | null;
  sent_at: string | null;
  sent_replies: number;
}

export interface CommentPatch {
  status: "open" | "resolved";
}

export type CommentStatus = "open" | "resolved" | "outdated";

export interface CommentUpdated {
  type: "comment_updated";
  comment: Comment;
}

export interface ContentBlock {
  kind: "text" | "image" | "audio" | "resource_link" | "resource" | "unknown";
  text: string | null;
  mime_type: string | null;
  uri: string | null;
  data: string | null;
  raw: Json;
}

export interface ConversationPoint {
  agent_session_id: string | null;
  before: string | null;
  told: number;
}

export interface Damage {
  id: string | null;
  message: string;
}

export interface Decision {
  id: string;
  session_id: string;
  verb: "apply" | "reject" | "revert" | "restore" | "update";
  target: "checkout" | "branch";
  picks: Pick[];
  by: string;
  reason: string | null;
  checkpoint_id: string | null;
  state: DecisionState;
  error: Fault | null;
  created_at: string;
  ended_at: string | null;
}

export type DecisionState = "queued" | "underway" | "done" | "refused" | "withdrawn";

export interface Diagnostic {
  id: string;
  command: string[];
  resolved_path: string | null;
  version: string | null;
  searched: string[];
  env_present: string[];
  env_missing: string[];
  probe: ProbeResult | null;
  probed_at: string | null;
  stderr: string;
  advice: string[];
  extra: Record<string, Json>;
}

export interface Draft {
  session_id: string;
  text: string;
  updated_at: string | null;
}

export interface DraftPatch {
  text: string;
}

export interface ErrorReported {
  type: "error";
  code: string;
  message: string;
}

export interface ErrorFrame {
  type: "error";
  id: string | null;
  session_id: string | null;
  code: string;
  message: string;
  retryable: boolean;
}

export interface EventsFrame {
  type: "events";
  session_id: string;
  records: JournalRecord[];
}

export interface Fault {
  code: string;
  message: string;
}

export interface FileDifference {
  file_path: string;
  old_path: string | null;
  operation: "create" | "edit" | "delete" | "rename";
  base_blob: string | null;
  new_blob: string | null;
  base_mode: string | null;
  new_mode: string | null;
  is_binary: boolean;
  added_lines: number;
  deleted_lines: number;
}

export interface Folder {
  path: string;
  entries: FolderEntry[];
  more: number;
}

export interface FolderEntry {
  path: string;
  name: string;
  kind: "folder" | "file";
}

export interface FoundFile {
  path: string;
}

export interface Health {
  status: "ok" | "degraded" | "draining";
  version: string;
  database: "up" | "down";
  dispatcher: "notify" | "polling";
  pool: PoolHealth;
  socket_url: string | null;
  troubles: Trouble[];
}

export interface HostNote {
  type: "host_note";
  text: string;
}

export interface Hunk {
  id: string;
  header: string;
  lines: string[];
}

export interface HunkChoice {
  id: string;
  lines: number[] | null;
}

export interface HunkLines {
  id: string;
  lines: number[];
}

export interface Lagged {
  type: "lagged";
  session_id: string;
  seq: number;
}

export interface Login {
  token: string;
  in_frame?: boolean;
}

export interface Mode {
  id: string;
  label: string;
  description: string | null;
  is_unattended: boolean;
}

export interface ModeChanged {
  type: "mode";
  mode_id: string;
}

export interface Model {
  id: string;
  label: string;
  description: string | null;
  is_default: boolean;
  thinking_options: ThinkingOption[];
}

export interface ModelChanged {
  type: "model";
  model_id: string;
}

export interface NewComment {
  side?: "base" | "new";
  line: number;
  body: string;
}

export interface NewCommit {
  message: string;
  changes?: "applied" | "all";
  reason?: string | null;
}

export interface NewProject {
  name?: string | null;
  repo_path: string;
}

export interface NewReply {
  body: string;
}

export interface NewSession {
  project_id: string;
  name?: string | null;
  base_ref?: string | null;
}

export interface NewTask {
  agent: string;
  input: string;
  model?: string | null;
  mode_id?: string | null;
  thinking_option_id?: string | null;
  feature_values?: Record<string, Json>;
  attachments?: Attachment[];
  when?: "queue" | "steer" | "interrupt";
  session_id: string;
  parent_task_id?: string | null;
}

export interface PermissionAnswer {
  option_id: string;
}

export interface PermissionFrame {
  option_id: string;
  type: "permission";
  id: string;
  request_id: string;
}

export interface PermissionOption {
  id: string;
  name: string;
  kind: "allow_once" | "allow_always" | "reject_once" | "reject_always" | "other";
  covers: string[];
}

export interface PermissionOutcome {
  status: PermissionStatus;
  option_id: string | null;
  decided_by: string | null;
}

export interface PermissionRequest {
  id: string;
  session_id: string;
  task_id: string | null;
  agent: string;
  tool_call: ToolCall;
  options: PermissionOption[];
  status: PermissionStatus;
  option_id: string | null;
  created_at: string;
  expires_at: string;
  decided_at: string | null;
  decided_by: string | null;
}

export interface PermissionRequested {
  type: "permission_requested";
  request: PermissionRequest;
}

export interface PermissionResolved {
  type: "permission_resolved";
  request_id: string;
  outcome: PermissionOutcome;
}

export type PermissionStatus = "pending" | "selected" | "cancelled" | "expired";

export interface Pick {
  change_id: string;
  hunks: HunkChoice[] | null;
  part: FileDifference | null;
}

export interface Ping {
  type: "ping";
}

export interface PingFrame {
  type: "ping";
}

export interface Plan {
  type: "plan";
  entries: PlanEntry[];
}

export interface PlanEntry {
  content: string;
  priority: "high" | "medium" | "low";
  status: "pending" | "in_progress" | "completed";
}

export interface Pong {
  type: "pong";
}

export interface PongFrame {
  type: "pong";
}

export interface PoolHealth {
  size: number;
  warm: number;
  leased: number;
  limit: number;
}

export interface PoolShare {
  warm: number;
  leased: number;
  turns: number;
  hit_rate: number | null;
  warm_wait_seconds: number | null;
  cold_wait_seconds: number | null;
  resident_bytes: number | null;
}

export interface PoolTotals {
  warm: number;
  limit: number;
  resident_bytes: number;
  memory_budget_bytes: number;
}

export interface ProbeResult {
  models: Model[];
  modes: Mode[];
  commands: Command[];
  default_model: string | null;
  default_mode: string | null;
  agent_name: string | null;
  agent_version: string | null;
  can_resume: boolean;
  accepts_images: boolean;
  accepts_audio: boolean;
  accepts_files: boolean;
  signed_in: boolean | null;
  refused_prompt: boolean;
  auth_methods: AuthMethod[];
  error: string | null;
  launched_as: string | null;
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  retryable: boolean;
  errors: (Record<string, Json>)[] | null;
  fields: Record<string, Json> | null;
}

export interface Project {
  id: string;
  name: string;
  repo_path: string;
  default_branch: string | null;
  created_at: string;
}

export interface ProjectPatch {
  name: string;
}

export interface Prompt {
  agent: string;
  input: string;
  model?: string | null;
  mode_id?: string | null;
  thinking_option_id?: string | null;
  feature_values?: Record<string, Json>;
  attachments?: Attachment[];
  when?: "queue" | "steer" | "interrupt";
}

export interface PromptFrame {
  agent: string;
  input: string;
  model?: string | null;
  mode_id?: string | null;
  thinking_option_id?: string | null;
  feature_values?: Record<string, Json>;
  attachments?: Attachment[];
  when?: "queue" | "steer" | "interrupt";
  session_id: string;
  parent_task_id?: string | null;
  type: "prompt";
  id: string;
}

export interface Provider {
  id: string;
  label: string;
  description: string;
  transport: "acp" | "opencode";
  command: string[];
  env: Record<string, string>;
  env_names: string[];
  version_args: string[];
  models: Model[] | null;
  additional_models: Model[];
  modes: Mode[];
  enabled: boolean;
  order: number;
  builtin: boolean;
  offer_fs: boolean;
  offer_terminal: boolean;
  protocol: number;
  share_server: boolean;
  sandbox: "auto" | "require" | "off" | null;
  state_folders: string[];
  locked_files: string[];
  copied_files: string[];
  read_folders: string[];
  install_hint: string;
  login_command: string[] | null;
}

export interface ProviderConfig {
  path: string;
  providers: Record<string, Json>;
  damage: Damage[];
  builtin: string[];
}

export interface ProviderPage {
  items: ProviderSnapshot[];
  next: string | null;
  pool: PoolTotals;
  spares: SpareTotals;
}

export interface ProviderPatch {
  providers: Record<string, Record<string, Json> | null>;
}

export interface ProviderRefresh {
  providers?: string[] | null;
}

export interface ProviderSnapshot {
  id: string;
  label: string;
  description: string;
  transport: "acp" | "opencode";
  enabled: boolean;
  installed: boolean;
  signed_in: boolean | null;
  usable: boolean;
  status: "loading" | "ready" | "unavailable" | "error";
  version: string | null;
  models: Model[];
  modes: Mode[];
  commands: Command[];
  default_model: string | null;
  default_mode: string | null;
  accepts_images: boolean;
  accepts_audio: boolean;
  accepts_files: boolean;
  auth_methods: AuthMethod[];
  install_hint: string;
  sandbox: "bubblewrap" | "landlock" | "none" | null;
  error: string | null;
  fetched_at: string | null;
  pool: PoolShare;
}

export interface QueuedDecision {
  decision_id: string;
  verb: "reject";
  by: string;
  hunks: HunkChoice[] | null;
  reason: string | null;
}

export interface Reasoning {
  type: "reasoning";
  text: string;
  message_id: string | null;
}

export interface Recipe {
  include: string[] | null;
  submodules: boolean;
  ports: string[];
  env: Record<string, string>;
  setup: SetupStep | null;
  teardown: TeardownStep | null;
}

export interface JournalRecord {
  seq: number;
  first_seq?: number | null;
  at: string;
  until?: string | null;
  agent: string | null;
  task_id: string | null;
  event: AgentEvent;
}

export interface RejectChange {
  hunks?: (string | HunkLines)[] | null;
  reason?: string | null;
}

export interface RejectChanges {
  changes?: ChosenChange[] | null;
  reason?: string | null;
}

export interface Reply {
  id: string;
  thread_id: string;
  body: string;
  by: string;
  created_at: string;
}

export interface RestoreCheckpoint {
  reason?: string | null;
}

export interface RevertChange {
  reason?: string | null;
}

export interface Review {
  agent: string;
  comments?: string[] | null;
  input?: string | null;
}

export interface Session {
  id: string;
  project_id: string;
  name: string;
  state: SessionState;
  worktree_path: string | null;
  branch: string | null;
  base_ref: string | null;
  base_commit: string | null;
  last_seq: number;
  auto_apply: boolean;
  created_at: string;
  updated_at: string;
}

export interface SessionPatch {
  name?: string | null;
  auto_apply?: boolean | null;
}

export type SessionState = "opening" | "open" | "closing";

export interface SessionUpdated {
  type: "session_updated";
  session: Session;
}

export interface Setup {
  session_id: string;
  state: SetupState;
  source: string | null;
  digest: string | null;
  recipe: Recipe | null;
  ports: Record<string, number>;
  holds: boolean;
  log: string;
  exit_status: number | null;
  error: Fault | null;
  created_at: string | null;
  started_at: string | null;
  ended_at: string | null;
}

export interface SetupAction {
  action: "run" | "skip";
}

export type SetupState = "none" | "untrusted" | "pending" | "running" | "done" | "failed" | "skipped";

export interface SetupStep {
  command: string | string[];
  timeout: number;
}

export interface SetupUpdated {
  type: "setup_updated";
  setup: Setup;
}

export interface SnapshotFrame {
  type: "snapshot";
  session_id: string;
  seq: number;
  session: Session;
  agents: AgentSession[];
  tasks: Task[];
  permissions: PermissionRequest[];
  changes: Change[];
  setup: Setup | null;
  comments: Comment[];
  events: JournalRecord[];
  has_more: boolean;
}

export interface SocketTicket {
  ticket: string;
  expires_at: string;
}

export interface SpareTotals {
  openings: number;
  stale: number;
  hit_rate: number | null;
  hit_seconds: number | null;
  miss_seconds: number | null;
}

export interface Subscribe {
  type: "subscribe";
  session_id: string;
  after?: number | null;
  epoch?: string | null;
}

export interface Task {
  id: string;
  session_id: string;
  parent_task_id: string | null;
  agent: string;
  model: string | null;
  mode_id: string | null;
  thinking_option_id: string | null;
  feature_values: Record<string, Json>;
  attachments: Attachment[];
  input: string;
  state: TaskState;
  error: Fault | null;
  stop_reason: string | null;
  output_summary: string | null;
  usage: Usage | null;
  attempt: number;
  place: number;
  cancel_requested: boolean;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
}

export interface TaskPatch {
  input?: string | null;
  before?: string | null;
  when?: "queue" | "steer" | "interrupt";
}

export interface TaskQueued {
  type: "task_queued";
  task: Task;
}

export type TaskState = "pending" | "running" | "completed" | "failed" | "cancelled" | "blocked";

export interface TaskUpdated {
  type: "task_updated";
  task: Task;
}

export interface TeardownStep {
  command: string | string[];
  timeout: number;
}

export interface TerminalOutput {
  terminal_id: string;
  output: string;
  truncated: boolean;
  exit_code: number | null;
  signal: string | null;
}

export interface Text {
  type: "text";
  text: string;
  message_id: string | null;
}

export interface ThinkingOption {
  id: string;
  label: string;
  description: string | null;
  is_default: boolean;
}

export interface ToolCall {
  id: string;
  title: string;
  name: string | null;
  kind: "read" | "edit" | "delete" | "move" | "search" | "execute" | "think" | "fetch" | "other";
  status: "pending" | "running" | "completed" | "failed";
  input: Json;
  output: Json;
  content: ContentBlock[];
  diffs: ToolDiff[];
  locations: ToolLocation[];
  terminals: TerminalOutput[];
  sub_agent: string | null;
  parent_id: string | null;
}

export interface ToolCallStarted {
  type: "tool_call";
  tool_call: ToolCall;
}

export interface ToolCallUpdated {
  type: "tool_update";
  tool_call: ToolCall;
}

export interface ToolDiff {
  path: string;
  old_text: string | null;
  new_text: string;
}

export interface ToolLocation {
  path: string;
  line: number | null;
}

export interface Trouble {
  reason: "database_away" | "dispatcher_stopped" | "journal_not_writing" | "loop_stalled" | "disk_nearly_full";
  message: string;
}

export interface TrustSetup {
  digest: string;
}

export interface TrustedSetup {
  project_id: string;
  digest: string;
  trusted_by: string;
  trusted_at: string;
}

export interface TurnEnded {
  type: "turn_ended";
  task_id: string;
  state: TaskState;
  stop_reason: string | null;
  error: Fault | null;
  usage: Usage | null;
}

export interface TurnStarted {
  type: "turn_started";
  task_id: string;
}

export interface Unknown {
  type: "unknown";
  raw: Json;
}

export interface Unsubscribe {
  type: "unsubscribe";
  session_id: string;
}

export interface Usage {
  context_used: number | null;
  context_size: number | null;
  input_tokens: number | null;
  output_tokens: number | null;
  cost: number | null;
}

export interface UsageReported {
  context_used: number | null;
  context_size: number | null;
  input_tokens: number | null;
  output_tokens: number | null;
  cost: number | null;
  type: "usage";
}

export interface UserText {
  type: "user_text";
  text: string;
}

export interface Welcome {
  type: "welcome";
  protocol: number;
  version: string;
  heartbeat_s: number;
  epoch: string;
}

export interface Worktree {
  session_id: string;
  worktree_path: string;
  branch: string;
  base_commit: string;
  base_tree: string;
  last_tree: string | null;
  committed_tree: string | null;
  keep_branch: boolean;
}

export type AgentEvent =
  | AgentStatusChanged
  | ChangeDecided
  | ChangeRecorded
  | CheckpointRecorded
  | Commands
  | CommentUpdated
  | ErrorReported
  | HostNote
  | ModeChanged
  | ModelChanged
  | PermissionRequested
  | PermissionResolved
  | Plan
  | Reasoning
  | SessionUpdated
  | SetupUpdated
  | TaskQueued
  | TaskUpdated
  | Text
  | ToolCallStarted
  | ToolCallUpdated
  | TurnEnded
  | TurnStarted
  | Unknown
  | UsageReported
  | UserText;

export type ClientFrame =
  | Cancel
  | PermissionFrame
  | Ping
  | Pong
  | PromptFrame
  | Subscribe
  | Unsubscribe;

export type ServerFrame =
  | Ack
  | ErrorFrame
  | EventsFrame
  | Lagged
  | PingFrame
  | PongFrame
  | SnapshotFrame
  | Welcome;
