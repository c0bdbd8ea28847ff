"""Stand-ins for the program, so that the scripts can be tested without a build of it."""
import os
import re
import shutil
import subprocess

# A program of MPI: rank 1 does what its argument says. Rank 0 waits for it; an error of MPI is not fatal to it, and it leaves time to name the dead.
RANKS = """
#include <mpi.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int count, char** words) {
  int rank, nothing = 0;
  MPI_Comm ranks;
  MPI_Init(&count, &words);
  MPI_Comm_dup(MPI_COMM_WORLD, &ranks);
  MPI_Comm_set_errhandler(ranks, MPI_ERRORS_RETURN);
  MPI_Comm_rank(ranks, &rank);
  MPI_Barrier(ranks);
  const int number = atoi(words[2]);
  if (rank == 1 && !strcmp(words[1], "abort")) MPI_Abort(MPI_COMM_WORLD, number);
  if (rank == 1 && !strcmp(words[1], "kill")) { signal(number, SIG_DFL); kill(getpid(), number); }
  if (rank == 1 && !strcmp(words[1], "exit")) _exit(number);
  if (rank == 0 && MPI_Recv(&nothing, 1, MPI_INT, 1, 0, ranks, MPI_STATUS_IGNORE)) { sleep(1); MPI_Abort(MPI_COMM_WORLD, 75); }
  sleep(30);
  return 0;
}
"""


def build_ranks(folder):
    """Compiles it as `ranks` in this folder: ranks abort|kill|exit NUMBER."""
    (folder / "ranks.c").write_text(RANKS)
    subprocess.run(["mpicc", folder / "ranks.c", "-o", folder / "ranks"], check=True)


def versions(*programs):
    """Which launchers a test has met."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    said = [subprocess.run([shutil.which(program, path=path) or program, "-V"], capture_output=True, text=True).stdout for program in programs]
    return ", ".join(f"{program} {re.search('[0-9]+[.][0-9.]+', text)[0]}" for program, text in zip(programs, said))
