#!/usr/bin/env bash
# torch 2.15.0, torchrun. Seen on 2026-11-29.
# Expected: torchrun ends with its workers' exit code when all have the same, hands USR2 on to them as mpirun and srun do, and leaves none behind when a signal ends it.
# Happens: 85 from all workers becomes 1, whether they end by themselves or after a TERM that torchrun did hand on. USR2 ends torchrun itself, and its workers live on.
# Matters: a batch script that requeues on its own exit code (or on SLURM's --signal=B:USR2) sees a failure, and leaves orphans that still write checkpoints.
# Source: torch/distributed/elastic/agent/server/local_elastic_agent.py and api.py (TERM, INT, HUP, QUIT are handled), run.py (ChildFailedError ends with 1).
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
cat > "$tmp/worker.py" <<'E'
import os, signal, sys, time
def stop(number, frame): sys.exit(85)
for number in signal.SIGTERM, signal.SIGUSR2: signal.signal(number, stop)
open(f"{os.environ['TMPDIR']}/pid{os.environ['RANK']}", "w").write(f"{os.getpid()}\n")
if sys.argv[1] == "stop": sys.exit(85)
time.sleep(30)
E
start() { rm -f "$tmp"/pid*; torchrun --standalone --nproc-per-node 2 "$tmp/worker.py" "$1" > "$tmp/log" 2>&1 & }
ended() {
  local code=0 left=0
  wait $! 2> /dev/null || code=$?
  sleep 1
  for p in $(cat "$tmp"/pid?); do kill -KILL "$p" 2> /dev/null && left=$((left + 1)); done
  echo "$1: torchrun ends with $code, workers left: $left" >> "$out"
}
start stop; ended "both workers end with 85"
for name in TERM USR2; do
  start wait; until [[ -s $tmp/pid0 && -s $tmp/pid1 ]]; do sleep 0.2; done; sleep 1
  kill -$name $!; ended "$name, at which workers end with 85"
done
verdict <<'E'
both workers end with 85: torchrun ends with 1, workers left: 0
TERM, at which workers end with 85: torchrun ends with 1, workers left: 0
USR2, at which workers end with 85: torchrun ends with 140, workers left: 2
E
