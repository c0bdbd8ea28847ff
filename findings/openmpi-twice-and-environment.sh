#!/usr/bin/env bash
# OpenMPI 4.1.4 (Debian 12) and 5.0.7 (Debian 13), mpirun. Seen on 2026-11-29.
# Expected: where an option stands twice, the last one counts, as with most tools; OMPI_MCA_NAME in the environment is the same as --mca NAME on the command line, in both.
# Happens: of two -np 4.1 takes the last, 5.0 the first. What belongs to the launcher is read from OMPI_MCA_ by 4.1 only: 5.0 ignores an interface that does not exist, and
#   a permission to oversubscribe, without a word. On the command line it takes the same names, and in the environment as PRTE_MCA_.
# Matters: wrappers that append -np to the user's options start another number of ranks after an upgrade; site-wide settings of interfaces are gone.
# Source: PRRTE's src/mca/schizo/ompi/schizo_ompi.c (translation of the command line) and its parameter prefix, PRTE_MCA_.
. "$(dirname "$0")/common.sh"
for version in bookworm:4.1.4-3+b1 trixie:5.0.7-1; do
  debian_packages ${version%:*} openmpi-bin=${version#*:} libopenmpi-dev=${version#*:} gcc libc6-dev
  observe inside bash -s <<'E'
cd /tmp
attempt() {
  what=$1; shift
  timeout 60 env "$@" > log 2>&1 < /dev/null; code=$?
  echo "$(mpirun --version | grep -om 1 '[0-9.]*$') $what: exit $code, $(grep -acx started log) ranks"
}
attempt "-np 2 -np 3" mpirun --oversubscribe -np 2 -np 3 echo started
attempt "OMPI_MCA_oob_tcp_if_include=nowhere0" OMPI_MCA_oob_tcp_if_include=nowhere0 mpirun --oversubscribe -np 1 echo started
cores=$(nproc); more=$((2 * cores + 2))
attempt "more ranks than cores" mpirun -np $more echo started | sed "s/ $more ranks/ all ranks/"
attempt "more ranks, OMPI_MCA_rmaps_base_oversubscribe=1" OMPI_MCA_rmaps_base_oversubscribe=1 mpirun -np $more echo started | sed "s/ $more ranks/ all ranks/"
attempt "more ranks, --oversubscribe" mpirun --oversubscribe -np $more echo started | sed "s/ $more ranks/ all ranks/"
E
done
verdict <<'E'
4.1.4 -np 2 -np 3: exit 0, 3 ranks
4.1.4 OMPI_MCA_oob_tcp_if_include=nowhere0: exit 1, 0 ranks
4.1.4 more ranks than cores: exit 1, 0 ranks
4.1.4 more ranks, OMPI_MCA_rmaps_base_oversubscribe=1: exit 0, all ranks
4.1.4 more ranks, --oversubscribe: exit 0, all ranks
5.0.7 -np 2 -np 3: exit 0, 2 ranks
5.0.7 OMPI_MCA_oob_tcp_if_include=nowhere0: exit 0, 1 ranks
5.0.7 more ranks than cores: exit 1, 0 ranks
5.0.7 more ranks, OMPI_MCA_rmaps_base_oversubscribe=1: exit 1, 0 ranks
5.0.7 more ranks, --oversubscribe: exit 0, all ranks
E
