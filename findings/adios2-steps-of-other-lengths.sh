#!/usr/bin/env bash
# adios2 2.12.1.1001. Seen on 2026-11-30.
# Expected: a step that is chosen with step_selection is read as it was written: its rows, all of them, and no others; or what does not fit is an error.
# Happens: each step is read with the first step's shape. Rows of a longer step are left out; a shorter one is filled with zeros. Several steps at once likewise. A file read step by step
#   (Stream) is right. Variable.shape() knows the right length: only what is read is wrong.
# Matters: a step for each batch, shard or epoch has other lengths; labels of the last, shorter batch become class 0, and of longer ones samples are lost. Read with Stream.
# Source: adios2/stream.py, read: the variable's count stays that of the first step. github.com/ornladios/ADIOS2/issues/3093 and /3311 are about lengths that change, and closed.
. "$(dirname "$0")/common.sh"
python_packages adios2==2.12.1.1001 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import adios2, numpy as np
def report(*lengths):
    with adios2.Stream("a.bp", "w") as stream:
        for step, length in zip(stream.steps(len(lengths)), lengths): stream.write("labels", 10 * (stream.current_step() + 1) + np.arange(length), [length], [0], [length])
    with adios2.Stream("a.bp", "r") as stream: one_by_one = [stream.read("labels").tolist() for _ in stream.steps()]
    with adios2.FileReader("a.bp") as reader:
        chosen = [reader.read("labels", step_selection=[step, 1]).tolist() for step in range(len(lengths))]
        together = reader.read("labels", step_selection=[0, len(lengths)]).tolist()
        variable = reader.inquire_variable("labels"); shapes = [variable.shape(step) for step in range(len(lengths))]
    print(f"steps of {lengths}: Stream {one_by_one}, shape() {shapes}"); print(f"  FileReader {chosen}, together {together}")
report(2, 3, 4)
report(4, 3, 2)
E
cd "$tmp"
observe python "$tmp/program.py"
verdict <<'E'
steps of (2, 3, 4): Stream [[10, 11], [20, 21, 22], [30, 31, 32, 33]], shape() [[2], [3], [4]]
  FileReader [[10, 11], [20, 21], [30, 31]], together [10, 11, 20, 21, 30, 31]
steps of (4, 3, 2): Stream [[10, 11, 12, 13], [20, 21, 22], [30, 31]], shape() [[4], [3], [2]]
  FileReader [[10, 11, 12, 13], [20, 21, 22, 0], [30, 31, 0, 0]], together [10, 11, 12, 13, 20, 21, 22, 0, 30, 31, 0, 0]
E
