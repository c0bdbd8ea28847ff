"""launch/mpirun.sh and launch/job.sh with stand-ins for the program, and with recorded words of launchers that are not installed here."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from standins import build_ranks, versions

MPIRUN = pathlib.Path(os.environ["SYNCDR_MPIRUN"])
JOB = MPIRUN.with_name("job.sh")
RANK = '"$OMPI_COMM_WORLD_RANK"'
SUMMON = ". Start the job again: what is sealed is kept\n"
STOPS = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Launch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.built = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-launch-"))
        cls.addClassCleanup(shutil.rmtree, cls.built)
        build_ranks(cls.built)

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-launch-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def program(self, text, name="program"):
        file = self.folder / name
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)
        return file

    def start(self, *command, **environment):
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder,
                                   env={**os.environ, **environment})
        self.addCleanup(process.kill)
        return process

    def run_through(self, *command, seconds=40, **environment):
        """(exit code, standard output, standard error)"""
        process = self.start(*command, **environment)
        out, errors = self.end_of(process, seconds)
        return process.returncode, out, errors

    def end_of(self, process, seconds):
        """What it has said on standard output and standard error by its end."""
        try:
            return process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            self.fail(f"not over after {seconds} s: {process.args}, which has said: {process.communicate()}")

    def up(self, count=2):
        """Waits until that many ranks have said that they are up."""
        deadline = time.monotonic() + 30
        while len(list(self.folder.glob("up-*"))) < count:
            self.assertLess(time.monotonic(), deadline, "the ranks did not come up")
            time.sleep(0.05)

    def signalled(self, command, number):
        """(exit code, what the ranks met, standard error) of two ranks that had been up when the signal came."""
        # To a file: what a rank says while mpirun ends the job may be lost.
        program = self.program('for s in USR2 TERM; do trap "echo rank $OMPI_COMM_WORLD_RANK: $s >> up-$OMPI_COMM_WORLD_RANK; exit 85" $s; done\n'
                               f": > up-{RANK}; for i in {{1..400}}; do sleep 0.05; done")
        process = self.start(*command, program)
        self.up()
        process.send_signal(number)
        out, errors = self.end_of(process, 30)
        met = ""
        for file in self.folder.glob("up-*"):
            met += file.read_text()
            file.unlink()
        return process.returncode, met, errors

    # Stopping

    def test_mpirun_and_job_ask_the_ranks_to_stop_on_any_of_their_signals(self):
        for command in ([MPIRUN, "-np", "2"], [JOB, "--ranks", "2"]):
            for number in STOPS:
                with self.subTest(command=command[0].name, signal=number.name):
                    code, met, errors = self.signalled(command, number)
                    self.assertEqual(code, 85, errors)
                    self.assertEqual(sorted(met.splitlines()), ["rank 0: USR2", "rank 1: USR2"])
                    told = int(command[0] == JOB or number != signal.SIGUSR2)
                    self.assertEqual(errors.count("asked to save their state"), told, errors)

    def test_a_stop_that_comes_before_the_ranks_is_not_lost(self):
        program = self.program("trap 'exit 85' USR2; for i in {1..400}; do sleep 0.05; done")
        for command in ([MPIRUN, "-np", "2"], [JOB, "--ranks", "2"]):
            for delay in (0.05, 0.1, 0.15, 0.2, 0.3, 0.5):
                with self.subTest(command=command[0].name, delay=delay):
                    process = self.start(*command, program)
                    time.sleep(delay)
                    process.send_signal(signal.SIGTERM)
                    out, errors = self.end_of(process, 15)
                    # 143: the shell has not come to its traps yet, and no rank is there
                    self.assertIn(process.returncode, (85, -signal.SIGTERM), errors)

    def test_a_second_term_or_int_ends_ranks_that_do_not_stop(self):
        program = self.program(f"trap '' USR2 INT TERM; : > up-{RANK}; for i in {{1..400}}; do sleep 0.05; done; : > through-{RANK}")
        for command in ([MPIRUN, "-np", "2"], [JOB, "--ranks", "2"]):
            for first, second in ((signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)):
                with self.subTest(command=command[0].name, first=first.name):
                    process = self.start(*command, program)
                    self.up()
                    process.send_signal(first)
                    time.sleep(0.5)
                    self.assertIsNone(process.poll())
                    process.send_signal(second)
                    out, errors = self.end_of(process, 12)  # nobody holds the pipes any more
                    self.assertEqual(process.returncode, 85, errors)
                    self.assertFalse(list(self.folder.glob("through-*")))
                    for file in self.folder.glob("up-*"):
                        file.unlink()

    def test_term_after_a_stop_signal_does_not_end_the_ranks_hard(self):
        # A scheduler sends both: one a while before the time limit, one at it.
        program = self.program(f"trap 'sleep 1; echo saved >> saved-{RANK}; exit 85' USR2; trap '' TERM; : > up-{RANK}; while :; do sleep 0.05; done")
        process = self.start(MPIRUN, "-np", "2", program)
        self.up()
        process.send_signal(signal.SIGUSR2)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        out, errors = self.end_of(process, 30)
        self.assertEqual(process.returncode, 85, errors)
        self.assertEqual(len(list(self.folder.glob("saved-*"))), 2)

    def test_ranks_end_with_a_killed_mpirun_sh_or_job_sh(self):
        start = time.monotonic()
        code, met, errors = self.signalled([MPIRUN, "-np", "2"], signal.SIGKILL)
        self.assertEqual(code, -signal.SIGKILL)
        self.assertLess(time.monotonic() - start, 19)  # nobody holds the pipes any more, long before the ranks would have ended by themselves
        code, met, errors = self.signalled([JOB, "--ranks", "2"], signal.SIGKILL)
        self.assertEqual(code, -signal.SIGKILL)
        self.assertIn("rank 1: USR2", met)

    # Exit codes and what is said

    def test_a_rank_that_a_signal_ended_is_named_in_one_line(self):
        host = os.uname().nodename.split(".")[0]
        for number, expected, text in ((9, 75, "9 (Killed)" + SUMMON), (15, 75, "15 (Terminated)" + SUMMON),
                                       (11, 70, "11 (Segmentation fault): a bug, please report it\n")):
            with self.subTest(number):
                code, out, errors = self.run_through(MPIRUN, "-np", "2", self.program(f"[ {RANK} = 0 ] || {{ sleep 0.5; kill -{number} $$; }}; exec sleep 30"))
                self.assertEqual((code, errors), (expected, f"mpirun.sh: rank 1 on {host} was ended by signal {text}"))
                code, out, errors = self.run_through(MPIRUN, "-np", "2", self.built / "ranks", "kill", number)
                self.assertEqual((code, errors), (expected, f"mpirun.sh: rank 1 on {host} was ended by signal {text}"))

    def test_a_rank_that_dies_before_mpirun_has_noticed_it_running_counts_the_same(self):
        # mpirun then tells the code, and not always the rank; a program that ends with 128 + the signal always makes it say so.
        for number, expected, name in ((9, 75, "KILL"), (11, 70, "SEGV")):
            code, out, errors = self.run_through(MPIRUN, "-np", "2", self.program(f"[ {RANK} = 0 ] || exit {128 + number}; exec sleep 30"))
            self.assertEqual(code, expected, errors)
            self.assertRegex(errors, rf"\Ampirun.sh: (rank 1|a rank|a rank, or mpirun [^\n]*,) was ended by signal {number} \({name}\)[^\n]*\n\Z")

    def test_of_an_ordinary_failure_mpirun_says_nothing(self):
        for number in (1, 2, 3, 65, 70, 74, 75, 85):
            with self.subTest(number):
                program = self.program(f"[ {RANK} = 0 ] || {{ echo row 7 is broken >&2; exit {number}; }}; exec sleep 30")
                self.assertEqual(self.run_through(MPIRUN, "-np", "2", program), (number, "", "row 7 is broken\n"))
        for way, number in (("abort", 65), ("abort", 75), ("abort", 85), ("exit", 65), ("exit", 75)):
            with self.subTest(way=way, number=number):
                self.assertEqual(self.run_through(MPIRUN, "-np", "2", self.built / "ranks", way, number), (number, "", ""))

    def test_what_cannot_be_started_is_said_and_ends_with_2(self):
        plain, folder, script = self.folder / "plain", self.folder / "folder", self.folder / "script"
        plain.write_text("")
        folder.mkdir()
        script.write_text("#!/nowhere/sh\n")
        script.chmod(0o755)
        for arguments, word in ((["-np", "2", self.folder / "none"], "none"), (["-np", "2", "no-such-program"], "no-such-program"), (["-np", "2", plain], "plain"),
                                (["--no-such-option", "-np", "1", "true"], "no-such-option"), (["-np", "1", "--hostfile", "nowhere", "true"], "nowhere"),
                                (["-np", "1", "--wdir", self.folder / "nowhere", "true"], ""), ([], "executable"),
                                (["-np", "2", "--bind-to", "nothing", "true"], "nothing")):
            with self.subTest(arguments):
                code, out, errors = self.run_through(MPIRUN, *arguments)
                self.assertEqual(code, 2, errors)
                self.assertIn(word, errors + out)
                self.assertRegex(errors, r"(?m)^mpirun.sh: mpirun did not start the job \(exit code \d+\)")
        for program in (folder, script):  # of these mpirun 5 itself says nothing
            with self.subTest(program):
                code, out, errors = self.run_through(MPIRUN, "-np", "2", program)
                self.assertIn(code, (1, 2), errors)
        code, out, errors = self.run_through(JOB, "--ranks", "2", self.folder / "none")
        self.assertEqual(code, 2, errors)
        self.assertNotIn("try", errors)

    def test_what_a_killed_mpirun_has_left_is_in_nobodys_way(self):
        temporary = self.folder / "temporary"
        temporary.mkdir()
        self.assertEqual(self.run_through(MPIRUN, "-np", "2", "true", TMPDIR=str(temporary))[0], 0)
        environment = self.launcher('mkdir -p $TMPDIR/prterun.$(hostname -s).$$.$(id -u); rm -r ${0%/*}; exec mpirun "$@"')
        code, out, errors = self.run_through(MPIRUN, "-np", "2", "true", TMPDIR=str(temporary), **environment)
        self.assertEqual((code, errors), (0, ""))

    def test_standard_input_and_output_are_left_as_they_are(self):
        done = subprocess.run([MPIRUN, "-np", "1", "cat"], input=b"one\0two\rthree", capture_output=True, timeout=30)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"one\0two\rthree", b""))

    # Options

    def ranks(self, *options, **environment):
        """The cores of each rank that mpirun.sh starts with these options."""
        code, out, errors = self.run_through(MPIRUN, *options, self.program(f'echo {RANK}: $(taskset --cpu-list --pid $$ | sed "s/.*: //")'), **environment)
        self.assertEqual((code, errors), (0, ""))
        return [line.split(": ")[1] for line in sorted(out.splitlines())]

    def test_more_ranks_than_cores_run_and_are_not_tied(self):
        cores = subprocess.run(["taskset", "--cpu-list", "--pid", str(os.getpid())], capture_output=True, text=True).stdout.split(": ")[1].strip()
        count = os.cpu_count() + 1
        self.assertEqual(self.ranks("-np", str(count)), [cores] * count)

    def test_options_given_win_and_the_last_of_two_counts(self):
        self.assertEqual(len(self.ranks("-np", "1", "-n", "2")), 2)
        self.assertEqual(len(self.ranks("-n", "2", "--np", "1")), 1)
        self.assertEqual(len(self.ranks("--oversubscribe", "-np", "3")), 3)
        two = self.ranks("-np", "2", "--bind-to", "core")
        self.assertNotEqual(*two)
        untied = self.ranks("-np", "2")
        self.assertEqual(*untied)
        self.assertEqual(self.ranks("-np", "2", "--bind-to", "none", "--bind-to", "core"), two)
        self.assertEqual(self.ranks("-np", "2", "--bind-to", "core", "--bind-to", "none"), untied)
        self.assertEqual(self.ranks("-np", "2", "--map-by", "slot", "--map-by", "core"), untied)
        self.assertEqual(len(self.ranks("--map-by", "ppr:2:node:PE=1")), 2)
        placement = {"MPIRUN_PLACEMENT": "--map-by ppr:2:node:PE=1 --bind-to core"}
        self.assertEqual(self.ranks(**placement), two)
        self.assertEqual(self.ranks("--bind-to", "none", **placement), untied)
        self.assertEqual(len(self.ranks("--map-by", "ppr:1:node", **placement)), 1)
        self.assertEqual(len(self.ranks("-np", "1", **placement)), 1)
        self.assertEqual(len(self.ranks("-np", "3", "--oversubscribe", "--bind-to", "none", **placement)), 3)

    def test_no_oversubscription_where_it_is_not_wanted(self):
        for option in (["--nooversubscribe"], ["--map-by", "slot:NOOVERSUBSCRIBE"]):
            code, out, errors = self.run_through(MPIRUN, *option, "-np", str(os.cpu_count() + 1), "true")
            self.assertEqual(code, 2, errors)
            self.assertIn("not enough slots", errors)

    # Words of launchers, told by a stand-in for the launcher

    def launcher(self, text, name="mpirun"):
        folder = self.folder / "launcher"
        folder.mkdir(exist_ok=True)
        self.program(text, f"launcher/{name}")
        return {"PATH": f"{folder}:{os.environ['PATH']}"}

    def heard(self, words, code, name="mpirun"):
        (self.folder / "words").write_text(words)
        environment = self.launcher(f"cat words >&2; exit {code}", name)
        command = [MPIRUN, "true"] if name == "mpirun" else \
            ["bash", "-c", f'say() {{ echo "$*" >&2; }}; hard="" stop_on=TERM; . {MPIRUN.parent}/signals.bash; . {MPIRUN.parent}/said.bash; hear {name} true']
        got, out, errors = self.run_through(*command, **environment)
        return got, errors.replace("mpirun.sh: ", "")

    def test_the_words_of_both_mpiruns(self):
        rule = "-" * 74 + "\n"
        killed = "rank 1 on n2 was ended by signal 9 (Killed)" + SUMMON
        aborted4 = rule + "MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\nwith errorcode 65.\n\nNOTE: invoking MPI_ABORT causes Open MPI to kill" \
            " all MPI processes.\nYou may or may not see output from other processes, depending on\nexactly when Open MPI kills them.\n" + rule
        aborted5 = aborted4.replace("with errorcode 65.", "  Proc: [[37399,1],1]\n  Errorcode: 65")
        calling = rule + 'prterun has exited due to process rank 0 with PID 0 on node n1 calling\n"abort". This may have caused other processes in the application' \
            " to be\nterminated by signals sent by prterun (as reported here).\n" + rule
        lost = rule + "{} has lost communication with a remote daemon.\n\n  HNP daemon   : [[1,0],0] on node n1\n  Remote daemon: [prterun-n1-9@0,1] on node" \
            " n2\n\nThis is usually due to either a failure of the TCP network\nconnection to the node, or possibly an internal failure of\nthe daemon itself.\n" + rule
        nonzero = rule + "Primary job  terminated normally, but 1 process returned\na non-zero exit code. Per user-direction, the job has been aborted.\n" + rule
        several = "1 more process has sent help message help-mpi-api.txt / mpi-abort\n"
        for words, code, expected in (
            # 4.1.4
            (nonzero + rule + "mpirun noticed that process rank 1 with PID 0 on node n2 exited on signal 9 (Killed).\n" + rule, 137, (75, killed)),
            ("mpirun: Forwarding signal 12 to job\n" + nonzero, 85, (85, "")),
            (aborted4 + "[n1:7] " + several + '[n1:7] Set MCA parameter "orte_base_help_aggregate" to 0 to see all help / error messages\n', 65, (65, "")),
            ("[n1:7] [[32394,0],0] ORTE_ERROR_LOG: Data unpack would read past end of buffer in file ../../../orte/util/show_help.c at line 501\n", 65, (65, "")),
            (lost.format("ORTE"), 0, (75, "n2 does not answer" + SUMMON)),
            # 5.0.7
            (rule + "prterun noticed that process rank 1 with PID 32753 on node n2 exited on\nsignal 9 (Killed).\n" + rule, 137, (75, killed)),
            (rule + "prterun noticed that process rank 1\nwith PID 32753 on\n node n2 exited\non signal 9\n(Killed).\n" + rule + "\0", 137, (75, killed)),
            ("row 7 is broken\n" + aborted5 + "\0" + several + calling + "\0\0" + several, 65, (65, "row 7 is broken\n")),
            (lost.format("PRTE") + "\0", 255, (75, "n2 does not answer" + SUMMON)),
            (rule + "prterun noticed that process rank 0 with PID 7 on node n1 exited on\nsignal 13 (Broken pipe).\n" + rule, 141,
             (2, "rank 0 on n1 was ended by signal 13 (Broken pipe): is the program one that can be started? The same line would fail again\n")),
            # either
            (rule + "Something new.\n" + rule, 75, (75, rule + "Something new.\n" + rule)),
            (rule + "Something new.\n" + rule, 1, (2, rule + "Something new.\n" + rule + "mpirun did not start the job (exit code 1), for the reason "
                                                   "above. The same line would fail again\n")),
            (rule + "Something that does not end.\n", 0, (0, rule + "Something that does not end.\n")),
            ("", 0, (0, "")),
        ):
            with self.subTest(words):
                self.assertEqual(self.heard(words, code), expected)

    def test_the_words_of_srun(self):
        aborted = "srun: Job step aborted: Waiting up to 32 seconds for job step to finish.\n"
        cancelled = "slurmstepd-n1: error: *** STEP 1.0 ON n1 CANCELLED AT 2026-01-29T07:28:15 ***\n"
        killed = "rank 1 on n2 was ended by signal (Killed)" + SUMMON
        for words, code, expected in (
            # 22.05 with OpenMPI 4.1.4
            ("srun: error: n2: task 1: Killed\nsrun: First task exited 20s ago\nsrun: StepId=1.0 task 0: running\nsrun: StepId=1.0 task 1: exited abnormally\n"
             "srun: launch/slurm: _step_signal: Terminating StepId=1.0\n" + aborted + cancelled + "srun: error: n1: task 0: Killed\n", 137, (75, killed)),
            ("-" * 74 + "\nAn MPI communication peer process has unexpectedly disconnected.  This\nusually indicates a failure in the peer process (e.g., a crash or\n"
             + "-" * 74 + "\nsrun: error: n2: task 1: Killed\n" + aborted + "srun: error: n1: task 0: Killed\n", 137, (75, killed)),
            ("-" * 74 + "\nAn MPI communication peer process has unexpectedly disconnected.  This\nsrun: error: n2: task 1: Killed\n12:00:00 E why\nusually\n"
             + "-" * 74 + "\n" + aborted + "srun: error: n1: task 0: Killed\n", 137, (75, "12:00:00 E why\n" + killed)),
            ("-" * 74 + "\nSomething new.\n" + "-" * 74 + "\nsrun: error: n2: task 1: Killed\n", 137, (75, "-" * 74 + "\nSomething new.\n" + "-" * 74 + "\n" + killed)),
            ("srun: error: n2: task 1: Exited with exit code 65\n" + cancelled + aborted + "srun: error: n1: task 0: Killed\n", 65, (65, "")),
            (aborted + "srun: error: n2: task 1: Killed\n" + cancelled + "srun: error: n1: task 0: Killed\n", 65, (65, "")),
            ("srun: error: n1: tasks 0-1: Exited with exit code 85\nsrun: error: n2: tasks 2-3: Exited with exit code 85\n", 85, (85, "")),
            # 24.11 with OpenMPI 5.0.7, whose ranks leave with 14 where another has died
            ("srun: error: n2: task 1: Killed\n" + aborted + cancelled + "srun: error: n1: task 0: Exited with exit code 14\n", 14, (75, killed)),
            (aborted + "srun: error: n1: task 0: Exited with exit code 14\nsrun: error: n2: task 1: Killed\n" + cancelled, 14, (75, killed)),
            ("srun: error: n2: task 1: Segmentation fault (core dumped)\n" + aborted + cancelled + "srun: error: n1: task 0: Exited with exit code 14\n", 14,
             (70, "rank 1 on n2 was ended by signal (Segmentation fault (core dumped)): a bug, please report it\n")),
            ("slurmstepd-n1: error:  mpi/pmix_v5: _errhandler: n1 [0]: pmixp_client_v2.c:211: Error handler invoked: status = -200, source = [slurm.pmix.2.0:0]\n"
             "srun: error: n1: task 0: Exited with exit code 75\nsrun: error: n2: task 1: Exited with exit code 3\n", 75, (3, "")),
            # either
            ("srun: unrecognized option '--no'\nTry \"srun --help\" for more information\n", 255,
             (2, "srun: unrecognized option '--no'\nTry \"srun --help\" for more information\n"
                 "srun did not start the job (exit code 255), for the reason above. The same line would fail again\n")),
            ("slurmstepd-n1: error: execve(): /none: Permission denied\nsrun: error: n1: task 0: Exited with exit code 13\n", 13,
             (2, "slurmstepd-n1: error: execve(): /none: Permission denied\n"
                 "srun did not start the job (exit code 13), for the reason above. The same line would fail again\n")),
            ("srun: error: Node failure on n2\n" + aborted, 1, (75, "srun: error: Node failure on n2\nn2 does not answer" + SUMMON)),
            ("slurmstepd-n1: error: *** STEP 1.0 ON n1 CANCELLED AT 2026-01-29T07:28:15 DUE TO TIME LIMIT ***\n", 0,
             (0, "slurmstepd-n1: error: *** STEP 1.0 ON n1 CANCELLED AT 2026-01-29T07:28:15 DUE TO TIME LIMIT ***\n")),
        ):
            with self.subTest(words):
                self.assertEqual(self.heard(words, code, "srun"), expected)

    def test_a_launcher_that_waits_for_a_lost_host_is_ended(self):
        rule = "-" * 74
        environment = self.launcher(f"""trap '' TERM
            echo rank 1 on n2 is gone >&2; printf '%s\\n' {rule} 'MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD' 'with errorcode 75.' {rule} >&2
            (while :; do sleep 0.1; done) & exec sleep 60""")
        start = time.monotonic()
        code, out, errors = self.run_through(MPIRUN, "-np", "2", "true", **environment)  # nobody holds the pipes any more: what it had started has ended too
        self.assertEqual((code, errors), (75, "rank 1 on n2 is gone\n"))
        self.assertLess(time.monotonic() - start, 4)

    def test_the_interface_reaches_mpirun_and_the_daemons_of_both_versions(self):
        (self.folder / "hosts").write_text("localhost slots=2\n")
        environment = self.launcher('echo "$@"; env')
        code, out, errors = self.run_through(JOB, "--hosts", "hosts", "--interface", "ib9", "true", **environment)
        self.assertEqual(code, 0, errors)
        self.assertIn("--mca btl_tcp_if_include ib9 --mca oob_tcp_if_include ib9", out)
        code, out, errors = self.run_through(MPIRUN, "true", OMPI_MCA_oob_tcp_if_include="ib9", OMPI_MCA_plm_rsh_agent="my ssh", **environment)
        for line in ("PRTE_MCA_prte_if_include=ib9", "PRTE_MCA_plm_ssh_agent=my ssh", "PRTE_MCA_oob_tcp_keepalive_time=240"):
            self.assertIn(line, out.splitlines())

    # launch/job.sh

    def test_a_job_whose_rank_is_killed_is_tried_again(self):
        program = self.program(f"[ {RANK} = 0 ] || [ -e tried ] || {{ touch tried; kill -9 $$; }}; exec sleep 1")
        code, out, errors = self.run_through(JOB, "--ranks", "2", program, seconds=60)
        self.assertEqual(code, 0, errors)
        self.assertIn("exit code 75, try 1 of 3", errors)

    def test_a_job_gives_up_after_its_tries_and_at_once_on_other_codes(self):
        for number, tries, said in ((75, 1, "giving up"), (65, 3, "")):
            code, out, errors = self.run_through(JOB, "--tries", tries, "--", self.program(f"exit {number}"))
            self.assertEqual(code, number, errors)
            self.assertIn(said, errors)
            self.assertNotIn("again in", errors)

    def test_a_job_on_hosts_ties_ranks_to_cores_and_takes_the_environment_along(self):
        (self.folder / "hosts").write_text("localhost slots=2\n")
        program = self.program(f'echo rank {RANK}: $OMP_NUM_THREADS threads, $(taskset --cpu-list --pid $$ | sed "s/.*: //")')
        code, out, errors = self.run_through(JOB, "--ranks", "2", "--cpus", "1", "--hosts", "hosts", "--log", "job.log", "--", program)
        self.assertEqual(code, 0, errors)
        cores = [line.rsplit(", ", 1)[1] for line in sorted(out.splitlines())]
        self.assertEqual(len(set(cores)), 2, out)
        self.assertEqual(sorted((self.folder / "job.log").read_text().splitlines()), sorted(out.splitlines()))

    def test_a_job_takes_an_interface(self):
        code, out, errors = self.run_through(JOB, "--ranks", "2", "--interface", "lo", self.built / "ranks", "exit", "65")
        self.assertEqual((code, errors), (65, ""))

    def test_a_wrong_option_is_answered_with_the_usage(self):
        code, out, errors = self.run_through(JOB, "--rank", "2", "true")
        self.assertEqual(code, 2)
        self.assertIn("usage: launch/job.sh", errors)


if __name__ == "__main__":
    print(versions("mpirun"), flush=True)
    unittest.main()
