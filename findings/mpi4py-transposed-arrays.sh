#!/usr/bin/env bash
# mpi4py 4.1.2 with mpich 5.0.2 (wheels of PyPI). Seen on 2026-11-30.
# Expected: Allreduce, Gather and Bcast of numpy arrays work on values at their places, or refuse an array whose memory is laid out otherwise, as they refuse a strided or reversed one.
# Happens: a transposed array (and any in Fortran order) is taken as it lies in memory, without an error. Allreduce of x.T into an array of its shape is not the sum of x.T, on one rank
#   too; Gather and Bcast mix up rows and columns.
# Matters: features.T and much of what scipy.linalg returns is in that order. A covariance or a gallery that is gathered over ranks has the right shape and plausible numbers, at other
#   places.
# Source: mpi4py, src/mpi4py/MPI.src/asdlpack.pxi: dlpack_check_contig takes memory in either order, and what follows does not ask which.
. "$(dirname "$0")/common.sh"
python_packages mpi4py==4.1.2 mpich==5.0.2 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np
from mpi4py import MPI
world = MPI.COMM_WORLD
def say(*what):
    if world.rank == 0: print(*what, flush=True)
x = np.arange(6.).reshape(2, 3); y = np.zeros((3, 2))
world.Allreduce(x.T, y); say("mean of x.T over ranks that all hold [[0, 1, 2], [3, 4, 5]]:", (y / world.size).tolist())
gathered = np.zeros((world.size, 3, 2)); world.Gather(x.T, gathered); say("Gather of x.T, from rank 0:", gathered[0].tolist())
received = x.T.copy() if world.rank == 0 else np.zeros((3, 2), order="F")
world.Bcast(received); received = world.gather(received.tolist()); say("Bcast of", received and received[0], "into an array in Fortran order:", received and received[1])
for what, array in ("every other", np.arange(4.)[::2]), ("reversed", np.arange(2.)[::-1]):
    try: world.Allreduce(array, np.zeros(2)); say(what, "taken")
    except BufferError: say(what + ": refused")
E
observe mpiexec -n 2 python "$tmp/program.py"
verdict <<'E'
mean of x.T over ranks that all hold [[0, 1, 2], [3, 4, 5]]: [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
Gather of x.T, from rank 0: [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
Bcast of [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] into an array in Fortran order: [[0.0, 4.0], [3.0, 2.0], [1.0, 5.0]]
every other: refused
reversed: refused
E
