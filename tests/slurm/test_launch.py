"""launch/mpirun.sh and launch/job.sh with stand-ins for the program: signals, exit codes, what is said, second tries."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

MPIRUN = pathlib.Path(os.environ["SYNCDR_MPIRUN"])
JOB = MPIRUN.with_name("job.sh")
RANK = '"$OMPI_COMM_WORLD_RANK"'


class Launch(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-launch-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def program(self, text):
        file = self.folder / "program"
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)
        return file

    def start(self, *command):
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder)
        self.addCleanup(process.kill)
        return process

    def signalled(self, command, number):
        """(exit code, output, with the signals that each rank met) of two ranks that had been up when the signal came."""
        # To a file: what a rank says while mpirun ends the job may be lost.
        program = self.program('for s in USR2 TERM; do trap "echo rank $OMPI_COMM_WORLD_RANK: $s >> up-$OMPI_COMM_WORLD_RANK; exit 85" $s; done\n'
                               f": > up-{RANK}; for i in {{1..200}}; do sleep 0.05; done")
        process = self.start(*command, program)
        deadline = time.monotonic() + 30
        while len(list(self.folder.glob("up-*"))) < 2:
            self.assertLess(time.monotonic(), deadline, "the ranks did not come up")
            time.sleep(0.05)
        process.send_signal(number)
        out, errors = process.communicate(timeout=30)
        met = ""
        for file in self.folder.glob("up-*"):
            met += file.read_text()
            file.unlink()
        return process.returncode, met + out + errors

    def test_mpirun_hands_the_stop_signal_to_every_rank_once(self):
        code, said = self.signalled([MPIRUN, "-np", "2"], signal.SIGUSR2)
        self.assertEqual(code, 85, said)
        for rank in (0, 1):
            self.assertEqual(said.count(f"rank {rank}: USR2"), 1, said)

    def test_mpirun_ends_the_ranks_on_term_int_and_hup_and_does_not_ask_for_another_try(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            code, said = self.signalled([MPIRUN, "-np", "2"], number)
            self.assertNotIn(code, (0, 75, 85), said)
            self.assertIn("rank 1: TERM", said)

    def test_ranks_end_with_a_killed_mpirun_sh(self):
        code, said = self.signalled([MPIRUN, "-np", "2"], signal.SIGKILL)
        self.assertEqual(code, -signal.SIGKILL)
        self.assertIn("rank 1: TERM", said)  # communicate() returned: nobody holds the pipes any more

    def test_a_rank_that_a_signal_ended_is_named_in_one_line_and_the_code_is_75(self):
        done = self.start(MPIRUN, "-np", "2", self.program(f"[ {RANK} = 0 ] || {{ sleep 0.5; kill -9 $$; }}; exec sleep 30"))
        out, errors = done.communicate(timeout=30)
        self.assertEqual(done.returncode, 75, errors)
        self.assertRegex(errors, r"\Ampirun.sh: rank 1 on \S+ was ended by signal 9 \(Killed\)[^\n]*\n\Z")

    def test_a_crash_is_a_bug_and_not_worth_another_try(self):
        done = self.start(MPIRUN, "-np", "2", self.program(f"[ {RANK} = 0 ] || {{ sleep 0.5; kill -SEGV $$; }}; exec sleep 30"))
        out, errors = done.communicate(timeout=30)
        self.assertEqual(done.returncode, 70, errors)
        self.assertRegex(errors, r"\Ampirun.sh: rank 1 on \S+ was ended by signal 11 \(Segmentation fault\): a bug[^\n]*\n\Z")

    def test_a_rank_that_dies_before_mpirun_has_noticed_it_running_counts_the_same(self):
        # mpirun then says "non-zero exit code" and nothing else; a program that ends with 128 + the signal always makes it say so.
        for number, expected, name in ((9, 75, "KILL"), (11, 70, "SEGV")):
            done = self.start(MPIRUN, "-np", "2", self.program(f"[ {RANK} = 0 ] || exit {128 + number}; exec sleep 30"))
            out, errors = done.communicate(timeout=30)
            self.assertEqual(done.returncode, expected, errors)
            self.assertRegex(errors, rf"\Ampirun.sh: a rank was ended by signal {number} \({name}\)[^\n]*\n\Z")

    def test_of_an_ordinary_failure_mpirun_says_nothing(self):
        done = self.start(MPIRUN, "-np", "2", self.program(f"[ {RANK} = 0 ] || {{ echo row 7 is broken >&2; exit 65; }}; exec sleep 30"))
        out, errors = done.communicate(timeout=30)
        self.assertEqual((done.returncode, errors), (65, "row 7 is broken\n"))

    def test_what_mpirun_cannot_start_is_said(self):
        done = self.start(MPIRUN, "-np", "1", self.folder / "none")
        out, errors = done.communicate(timeout=30)
        self.assertNotIn(done.returncode, (0, 75))
        self.assertIn(str(self.folder / "none"), errors)

    def test_standard_input_and_output_are_left_as_they_are(self):
        done = subprocess.run([MPIRUN, "-np", "1", "cat"], input=b"one\0two\rthree", capture_output=True, timeout=30)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"one\0two\rthree", b""))

    def test_a_job_asks_the_ranks_to_stop_on_any_of_its_signals(self):
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            code, said = self.signalled([JOB, "--ranks", "2"], number)
            self.assertEqual(code, 85, said)
            self.assertIn("rank 0: USR2", said)
            self.assertIn("rank 1: USR2", said)

    def test_a_job_whose_rank_is_killed_is_tried_again(self):
        program = self.program(f"[ {RANK} = 0 ] || [ -e tried ] || {{ touch tried; kill -9 $$; }}; exec sleep 1")
        done = self.start(JOB, "--ranks", "2", program)
        out, errors = done.communicate(timeout=60)
        self.assertEqual(done.returncode, 0, errors)
        self.assertIn("exit code 75, try 1 of 3", errors)

    def test_a_job_gives_up_after_its_tries_and_at_once_on_other_codes(self):
        for code, tries, said in ((75, 1, "giving up"), (65, 3, "")):
            done = self.start(JOB, "--tries", str(tries), "--", self.program(f"exit {code}"))
            out, errors = done.communicate(timeout=30)
            self.assertEqual(done.returncode, code, errors)
            self.assertIn(said, errors)
            self.assertNotIn("again in", errors)

    def test_a_list_of_hosts_starts_tied_ranks_on_them_and_keeps_a_log(self):
        (self.folder / "hosts").write_text("localhost slots=2\n")
        program = self.program(f'echo rank {RANK}: $OMP_NUM_THREADS threads, $(taskset --cpu-list --pid $$ | sed "s/.*: //")')
        done = self.start(JOB, "--ranks", "2", "--cpus", "1", "--hosts", "hosts", "--log", "job.log", "--", program)
        out, errors = done.communicate(timeout=30)
        self.assertEqual(done.returncode, 0, errors)
        cores = [line.rsplit(", ", 1)[1] for line in sorted(out.splitlines())]
        self.assertEqual(len(set(cores)), 2, out)
        self.assertEqual(sorted((self.folder / "job.log").read_text().splitlines()), sorted(out.splitlines()))

    def test_a_wrong_option_is_answered_with_the_usage(self):
        done = self.start(JOB, "--rank", "2", "true")
        out, errors = done.communicate(timeout=30)
        self.assertEqual(done.returncode, 2)
        self.assertIn("usage: launch/job.sh", errors)


if __name__ == "__main__":
    unittest.main()
