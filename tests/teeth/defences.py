"""Every defence that is taken away by `./dev teeth`, one at a time, and the tests that must then fail."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Defence:
    """`before` stands once in `file`; with `after` in its place the defence is gone."""

    name: str
    what: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


def _on(file: str) -> Callable[..., Defence]:
    """Defences of one file."""

    def defence(name: str, what: str, before: str, after: str, *tests: str) -> Defence:
        return Defence(name, what, file, before, after, tests)

    return defence


_access = _on("coder/api/auth.py")
_paths = _on("coder/worktrees/paths.py")
_git = _on("coder/worktrees/git.py")
_sweep = _on("coder/processes/sweep.py")
_tasks = _on("coder/store/sql/tasks.sql")
_json = _on("coder/json_values.py")
_looks = _on("coder/worktrees/looks.py")
_dispatch = _on("coder/dispatch.py")

_ROUTES = "tests/api/test_access.py::test_no_route_is_reached_by_whoever_does_not_belong"
_SOCKETS = "tests/api/test_access.py::test_no_socket_is_opened_by_whoever_does_not_belong"
_TRAPS = "tests/worktrees/test_attacks.py::test_no_trap_is_sprung_by_any_call_of_the_host"
_FINGERPRINTS = "tests/worktrees/test_fingerprints.py"
_CRASH = "tests/faults/test_crashes.py::test_a_prompt_is_carried_out_once_or_said_to_be_interrupted"

_ESCAPES = "tests/process/test_sandbox.py::test_no_attempt_to_get_out_comes_to_anything"

DEFENCES: tuple[Defence, ...] = (
    # Who is let in
    _access(
        "token",
        "a wrong token is refused",
        "            if not self.has_token(offered):",
        "            if not offered:",
        _ROUTES,
        _SOCKETS,
    ),
    _access(
        "host",
        "a foreign Host is refused",
        "        if name not in self._own_names(connection.scope) or port != _own_port(connection.scope):",
        "        if name == port:",
        _ROUTES,
        _SOCKETS,
    ),
    _access(
        "origin",
        "a foreign Origin is refused",
        "        if len(origins) > 1 or (origins and not self._is_own_origin(connection.scope, origins[0])):",
        "        if len(origins) > 1:",
        _ROUTES,
        _SOCKETS,
    ),
    _access(
        "cookie from elsewhere",
        "a cookie alone is not enough to change something",
        '    if "origin" not in connection.headers and connection.headers.get("sec-fetch-site") != "same-origin":',
        '    if "origin" in connection.headers and "cookie" not in connection.headers:',
        "tests/api/test_access.py::test_a_login_gives_a_cookie_that_reads_and_writes_from_our_own_page_only",
    ),
    _access(
        "canonical path",
        "a path that two readers read differently is refused",
        "        or _BAD_ESCAPE.search(raw_path)\n",
        "",
        "tests/api/test_access.py::test_a_path_that_two_readers_could_read_differently_is_refused",
    ),
    _access(
        "wrong logins",
        "wrong logins are slowed down",
        "        if len(self._failures) == self.limit and moment - self._failures[0] < self.window_s:",
        "        if len(self._failures) > self.limit and moment - self._failures[0] < self.window_s:",
        "tests/api/test_limits.py::test_after_ten_wrong_logins_only_the_right_token_is_looked_at",
    ),
    _on("coder/api/bodies.py")(
        "media type",
        "a form or plain text from another site's page is refused",
        '    if media_type.strip().lower() != "application/json":',
        '    if media_type.strip().lower() == "application/xml":',
        "tests/api/test_access.py::test_a_command_with_a_body_that_a_foreign_page_could_send_is_refused",
    ),
    _on("coder/tokens.py")(
        "token file",
        "a token that others may read is refused",
        "        if not stat.S_ISREG(mode) or mode & 0o077:",
        "        if not stat.S_ISREG(mode):",
        "tests/unit/test_tokens.py",
    ),
    _on("coder/api/border.py")(
        "guarding headers",
        "every answer carries its content policy",
        "        headers.setdefault(name, value)\n",
        "        headers.get(name, value)\n",
        "tests/api/test_access.py::test_every_answer_carries_the_guarding_headers",
    ),
    _on("coder/providers/providers.py")(
        "executable fields",
        "over HTTP nobody changes what is run",
        "            if not may_write_code:",
        "            if not may_write_code and merge_fields is None:",
        "tests/providers/test_patch.py::test_a_caller_who_may_not_write_code_cannot",
    ),
    # What may come in
    _on("coder/api/connections.py")(
        "header deadline",
        "a request that is never finished is not waited for",
        "        self._deadline = self.loop.call_later(self._limits.header_deadline, self._end_late)",
        "        self._deadline = self.loop.call_later(1e6, self._end_late)",
        "tests/api/test_limits.py::test_a_request_that_is_not_finished_is_not_waited_for",
    ),
    _json(
        "depth of JSON",
        "JSON that is nested too deep is refused",
        "            if depth > DEPTH_LIMIT:",
        "            if depth > 10 * len(data):",
        "tests/api/test_bodies.py::test_what_is_not_json_of_bounded_depth_is_malformed",
    ),
    _json(
        "clean text",
        "NUL never reaches PostgreSQL",
        '    return text.replace("\\0", REPLACEMENT) if "\\0" in text else text',
        "    return text",
        "tests/unit/test_text.py",
    ),
    _on("coder/processes/pipes.py")(
        "length of a line",
        "an agent's endless line ends its turn",
        "        while self._rest_size <= self._limit:",
        "        while self._rest_size >= 0:",
        "tests/process/test_children.py::test_a_line_over_the_limit_is_a_clear_fault_after_the_lines_before_it",
    ),
    _on("coder/processes/pipes.py")(
        "back-pressure",
        "an agent that is not listened to has to wait",
        "        if self._size >= _HIGH_WATER:",
        "        if self._size < 0:",
        "tests/process/test_children.py::test_a_child_that_nobody_receives_from_is_held_up_and_loses_nothing",
    ),
    # Where agents may go
    _paths(
        "beneath",
        "the kernel keeps names inside the worktree",
        "            fd = self._openat2(name, _READ, _BENEATH | _NO_MAGIC_LINKS)",
        "            fd = self._openat2(name, _READ, 0)",
        "tests/worktrees/test_paths.py::test_a_path_that_leads_out_is_refused_for_reading_and_writing",
    ),
    _paths(
        "dots",
        "`..` does not leave the worktree where the kernel does not help",
        "        if not self._opened:\n            raise PathEscape(self._path)\n",
        "        if not self._opened:\n"
        '            return self._opened.append(os.open("..", _FOLDER, dir_fd=self._root))\n',
        "tests/worktrees/test_paths.py::test_a_path_that_leads_out_is_refused_for_reading_and_writing",
    ),
    _paths(
        "own git files",
        "`.git` in any spelling is not written",
        '        if self._guards_git and part.casefold() == ".git":',
        '        if self._guards_git and part == ".git":',
        "tests/worktrees/test_paths.py::test_the_repositorys_own_files_are_not_written",
    ),
    # What git may run
    _git("hooks", "no hook runs", '    "core.hooksPath": os.devnull,\n', "", _TRAPS),
    _git("file watcher", "no file watcher runs", '    "core.fsmonitor": "false",\n', "", _TRAPS),
    _on("coder/worktrees/worktree.py")(
        "filters",
        "no filter of the repository runs",
        '    return {key: trusted.get(key, "false" if key.endswith(".required") else "") for key in sorted(keys)}',
        "    return {key: trusted[key] for key in sorted(keys) if key in trusted}",
        _TRAPS,
        "tests/worktrees/test_attacks.py::test_a_trap_in_a_commit_is_not_sprung_when_a_worktree_is_made_from_it",
    ),
    _git(
        "git variables",
        "variables of the host's environment do not reach git",
        '    return ["env", *(word for name in foreign for word in ("-u", name))] if foreign else []',
        "    return []",
        "tests/worktrees/test_attacks.py::test_git_variables_of_the_hosts_environment_are_not_handed_down",
    ),
    _git(
        "references",
        "a reference is never an option",
        '    if not ref or ref.startswith("-") or not ref.isprintable():',
        "    if not ref or not ref.isprintable():",
        "tests/worktrees/test_attacks.py::test_a_reference_that_could_be_an_option_is_refused",
    ),
    # What is believed of a worktree without asking git
    _looks(
        "files just written",
        "a file that was written just before a look is read again",
        "        return stamp[3] >= self.racy",
        "        return stamp[3] < 0",
        f"{_FINGERPRINTS}::test_a_write_that_leaves_all_times_as_they_were_is_seen_in_a_file_that_was_new",
    ),
    _looks(
        "clock set back",
        "nothing is believed across a clock that was set back",
        "        return self.skew < since.skew - STEP_NS",
        "        return False",
        f"{_FINGERPRINTS}::test_a_clock_that_was_set_back_is_not_believed",
    ),
    _on("coder/worktrees/retakes.py")(
        "ignore rules",
        "a changed ignore rule is left to git",
        "    return is_same and not any(is_rule(name) for name in news.names)",
        "    return is_same",
        f"{_FINGERPRINTS}::test_what_git_finds_is_found_with_what_is_remembered",
    ),
    _on("coder/worktrees/retakes.py")(
        "names in the index",
        "a new file stays known when it comes to be ignored",
        "    await shadow.learn(sorted(news.added))",
        "    await shadow.learn([])",
        f"{_FINGERPRINTS}::test_what_is_known_though_it_is_ignored_stays_known",
    ),
    # What is left of agents
    _on("coder/processes/environment.py")(
        "environment",
        "an agent sees an allow-list of the environment",
        "        if (name in wanted or name.startswith(_PREFIXES)) and not name.startswith(_NEVER_INHERITED)\n",
        "",
        "tests/process/test_supervisor.py::test_a_child_sees_the_allow_list_and_none_of_the_hosts_secrets",
    ),
    _sweep(
        "tag",
        "what left its group and its parent is found by its tag",
        '    return value == tag or value.startswith(f"{tag}:")',
        "    return value != value",
        "tests/process/test_stop.py::test_a_wrapper_that_dies_leaves_nothing",
    ),
    _sweep(
        "watchdog",
        "a killed host's agents are ended",
        "    if not os.read(0, 1):",
        "    if len(os.read(0, 1)) > 1:",
        "tests/process/test_supervisor.py::test_nothing_is_left_running_after_the_host_was_killed",
    ),
    _on("coder/processes/supervisor.py")(
        "sweep",
        "the next start ends what a dead host left",
        "        await anyio.to_thread.run_sync(_sweep_dead_runs, home_id, runs, run_id)\n",
        "",
        "tests/process/test_supervisor.py::test_the_next_start_sweeps_what_a_killed_host_and_watchdog_left",
    ),
    _on("coder/processes/child.py")(
        "last rung",
        "what ignores SIGTERM is killed",
        "            known = await self._end(signal.SIGKILL, known, times.kill)",
        "            known = await self._end(signal.SIGCONT, known, times.kill)",
        "tests/process/test_stop.py::test_a_child_that_ignores_end_of_input_and_sigterm_is_killed",
    ),
    _on("coder/pool.py")(
        "restart budget",
        "an agent that dies again and again is not started for ever",
        "        if budget.is_spent(self._clock()):",
        "        if budget.in_a_row < 0:",
        "tests/e2e/test_turns.py::test_after_five_deaths_the_agent_is_not_started_again",
    ),
    _on("coder/slots.py")(
        "turns keep their agent",
        "an agent in a turn is not ended for want of memory",
        "            may_rest=all(slot.is_idle and slot.forgets_nothing for slot in users),",
        "            may_rest=True,",
        "tests/e2e/test_pool.py::test_idle_agents_over_the_memory_budget_rest_and_a_turn_is_left_alone",
    ),
    # What was accepted
    _tasks(
        "at most once",
        "a prompt that its agent may have heard is not sent again",
        "WHERE id = $1 AND attempt = $2 AND state = 'running' AND (NOT prompt_sent OR $3)\n",
        "WHERE id = $1 AND attempt = $2 AND state = 'running' AND (NOT prompt_sent OR $3 OR true)\n",
        "tests/postgres/test_tasks.py::test_a_task_whose_prompt_was_sent_does_not_go_back",
        f"{_CRASH}[0-turn.marked]",
    ),
    _tasks(
        "marked before sent",
        "that a prompt may be heard is stored before it is sent",
        "UPDATE tasks SET prompt_sent = true, sent_seq",
        "UPDATE tasks SET prompt_sent = false, sent_seq",
        f"{_CRASH}[0-turn.heard]",
    ),
    _tasks(
        "fencing",
        "an old attempt ends nothing",
        "WHERE id = $1 AND attempt = $2 AND state = 'running'\nRETURNING *;\n\n-- name: requeue_task",
        "WHERE id = $1 AND (attempt = $2 OR $2 > 0) AND state = 'running'\nRETURNING *;\n\n-- name: requeue_task",
        "tests/postgres/test_tasks.py::test_an_old_attempt_cannot_end_a_task_and_no_task_ends_twice",
    ),
    _tasks(
        "one turn at a time",
        "a session has one turn at a time",
        "      AND (SELECT r.id FROM tasks r WHERE r.session_id = n.session_id AND r.state = 'running') IS NULL\n",
        "",
        "tests/postgres/test_tasks.py::test_tasks_of_a_session_are_given_out_one_at_a_time_in_the_order_they_were_accepted",
    ),
    _dispatch(
        "same key, other body",
        "a key stands for one prompt",
        "        if _wish_of(stored) != _wish_of(task):",
        "        if stored.session_id != task.session_id:",
        "tests/e2e/test_turns.py::test_a_repeated_key_gives_the_task_again_and_another_body_is_refused",
    ),
    _dispatch(
        "claims in doubt",
        "a claim whose answer was lost is looked for",
        "        if self._is_in_doubt:",
        "        if self._is_stopping:",
        "tests/faults/test_database.py::test_a_claim_that_nobody_heard_of_is_begun_all_the_same",
    ),
    _dispatch(
        "given back",
        "a turn that gave its task back leaves alone who has it now",
        "            if self._running.get(turn.task.id) is turn:",
        "            if turn.done.is_set():",
        "tests/faults/test_database.py::test_a_task_that_is_given_back_unheard_and_claimed_at_once_is_carried_out_once",
    ),
    _on("coder/store/database.py")(
        "lost track",
        "a connection that the driver has lost track of is given up",
        "    except InternalClientError as error:",
        "    except ZeroDivisionError as error:",
        "tests/postgres/test_database.py::test_a_connection_that_the_driver_itself_has_lost_track_of_is_given_up",
    ),
    _on("coder/event_stream.py")(
        "two lives",
        "a client does not mix the numbers of two lives of the host",
        "                    await self._subscribe(socket)\n                    welcome = frame\n",
        "                    await self._subscribe(socket)\n                    welcome = frame\n"
        "                    self._confirm(welcome)\n",
        "tests/api/test_client.py::"
        "test_a_refusal_by_another_life_of_the_host_does_not_lend_it_the_numbers_of_the_one_before",
    ),
    _dispatch(
        "joins in doubt",
        "a prompt that was joining a turn unheard does not stay blocked",
        "        await self._steering.settle()\n",
        "",
        "tests/faults/test_database.py::test_a_prompt_that_joins_a_turn_unheard_does_not_stay_blocked",
    ),
    _on("coder/store/notify.py")(
        "catch up",
        "what came while nobody listened is looked for",
        "        if is_listening:\n",
        "        if not is_listening:\n",
        "tests/postgres/test_notify.py::test_a_killed_listener_comes_back_and_wakes_to_catch_up",
    ),
    _on("coder/store/notify.py")(
        "deaf listener",
        "a connection that hears nothing is replaced",
        '        await connection.execute(sql("notify"), self._probe_channel)\n        await self._heard.wait()\n',
        "        self._heard.set()\n",
        "tests/postgres/test_notify.py::test_a_connection_that_is_open_but_hears_nothing_is_replaced",
    ),
    _on("coder/store/database.py")(
        "one host",
        "a second host on the same database is refused",
        '        while not await connection.fetchval(sql("try_lock"), HOST_LOCK):',
        '        while await connection.fetchval(sql("try_lock"), HOST_LOCK) is None:',
        "tests/postgres/test_database.py::test_a_second_host_on_the_same_database_is_refused_by_name",
    ),
    # What is shown
    _on("coder/journal.py")(
        "epoch",
        "a number of another life of the host is not believed",
        "        return after <= (log.last_seq if epoch in (None, self.epoch) else log.boot_seq)",
        "        return after <= log.last_seq",
        "tests/postgres/test_journal.py::test_a_number_of_another_epoch_above_the_stored_one_is_unknown",
    ),
    _on("coder/journal.py")(
        "commits in doubt",
        "whether a commit happened whose answer was lost is found out",
        "                log.in_doubt = commit.rows if commit else []\n",
        "                log.in_doubt = []\n",
        "tests/postgres/test_journal.py::test_cut_connections_lose_and_double_nothing",
        "tests/faults/test_database.py::test_a_commit_that_nobody_heard_of_happens_once",
    ),
    _on("coder/api/stream.py")(
        "deaf viewer",
        "a viewer that does not read is let go",
        "        deadline, since = self._limits.send_deadline, None\n",
        "        deadline, since = 1e6, None\n",
        "tests/api/test_stream.py::test_a_viewer_that_stops_reading_is_dropped_while_another_goes_on",
    ),
    _on("coder/providers/overrides.py")(
        "edit by hand",
        "a file that was edited meanwhile is not overwritten",
        "    if stamp_of(path) != expected:",
        "    if expected == ():",
        "tests/providers/test_overrides.py::test_a_file_that_changed_meanwhile_is_not_overwritten",
    ),
    # What holds an agent
    _on("coder/processes/bubblewrap.py")(
        "locked",
        "bubblewrap locks what would make git run something",
        "for path in with_targets(confinement.locked)",
        "for path in with_targets(confinement.locked[:0])",
        _ESCAPES,
    ),
    _on("coder/processes/bubblewrap.py")(
        "hidden",
        "bubblewrap hides what belongs to other worktrees",
        "    for path in with_targets(confinement.hidden):",
        "    for path in with_targets(confinement.locked[:0]):",
        _ESCAPES,
    ),
    _on("coder/processes/landlock.py")(
        "sockets",
        "Landlock comes with a filter against unix sockets",
        "    _refuse_sockets()\n    _call(",
        "    _call(",
        _ESCAPES,
    ),
    # One host, and room for what runs
    _on("coder/homes.py")(
        "one home",
        "a second host on the same home is refused",
        "            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        "tests/api/test_cli_life.py::test_a_second_host_on_a_home_is_refused_by_the_first_ones_process",
    ),
    _dispatch(
        "disk reserve",
        "without room on the disk no prompt is taken",
        "            self._space.refuse_without()",
        "            self._space.free()",
        "tests/faults/test_health.py::test_without_room_nothing_new_begins",
    ),
    _on("coder/standstill.py")(
        "standstill",
        "an event loop that stands still is noticed while it does",
        "            if beaten != told and time.monotonic() - beaten >= STILL_SECONDS:",
        "            if beaten == told:",
        "tests/faults/test_health.py::test_a_loop_that_stands_still_is_noticed_told_of_and_gets_over_it",
    ),
)
