#!/usr/bin/env bash
# tensorboard 2.21.0, torch 2.15.0. Seen on 2026-11-30.
# Expected: a run that logged to step 9 and resumed at 5 with SummaryWriter(purge_step=5) shows, as documented, nothing of the first life from step 5 on, in each reader;
#   without purge_step, or with --purge_orphaned_data=false, all points.
# Happens: TensorBoard looks at each tag by itself and not at purge_step: "loss", logged again, is replaced with and without it, and "eval", not logged again, keeps its old 5 to 9. The
#   option changes nothing. With --load_fast=false nothing is ever removed. EventAccumulator, the reader for programs, alone does as documented.
# Matters: a chart shows an evaluation of weights that were thrown away beside the resumed run; a table made by a program and the chart of one folder differ.
# Source: torch/utils/tensorboard/writer.py (purge_step), tensorboard/backend/event_processing/event_accumulator.py; seen by running tensorboard-data-server.
. "$(dirname "$0")/common.sh"
python_packages tensorboard==2.21.0 torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import json, socket, subprocess, sys, tempfile, time, urllib.request
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter
def points(pairs): return " ".join(f"{int(step)}:{int(value)}" for step, value in pairs if step >= 4)
def chart(folder, *options):
    with socket.socket() as free: free.bind(("127.0.0.1", 0)); port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--host", "127.0.0.1", "--port", str(port), *options], stderr=subprocess.DEVNULL)
    try:
        found = {}
        for tag in "loss", "eval":
            for _ in range(300):
                try: found[tag] = points(point[1:] for point in json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/data/plugin/scalars/scalars?run=.&tag={tag}"))); break
                except OSError: time.sleep(0.5)
        return found
    finally: server.terminate(); server.wait()
for purge in 5, None:
    folder = tempfile.mkdtemp()
    with SummaryWriter(folder, filename_suffix=".a") as log:
        for step in range(10): log.add_scalar("loss", step, step); log.add_scalar("eval", step, step)
    time.sleep(1.5)
    with SummaryWriter(folder, purge_step=purge, filename_suffix=".b") as log:
        for step in range(5, 8): log.add_scalar("loss", 100 + step, step)
    reader = EventAccumulator(folder); reader.Reload()
    print(f"purge_step={purge}, step:value from 4 on")
    print("  EventAccumulator:", {tag: points((event.step, event.value) for event in reader.Scalars(tag)) for tag in ("loss", "eval")})
    for options in [], ["--purge_orphaned_data=false"], ["--load_fast=false"]: print("  tensorboard", *options, chart(folder, *options))
E
observe python "$tmp/program.py"
verdict <<'E'
purge_step=5, step:value from 4 on
  EventAccumulator: {'loss': '4:4 5:105 6:106 7:107', 'eval': '4:4'}
  tensorboard {'loss': '4:4 5:105 6:106 7:107', 'eval': '4:4 5:5 6:6 7:7 8:8 9:9'}
  tensorboard --purge_orphaned_data=false {'loss': '4:4 5:105 6:106 7:107', 'eval': '4:4 5:5 6:6 7:7 8:8 9:9'}
  tensorboard --load_fast=false {'loss': '4:4 5:5 6:6 7:7 8:8 9:9 5:105 6:106 7:107', 'eval': '4:4 5:5 6:6 7:7 8:8 9:9'}
purge_step=None, step:value from 4 on
  EventAccumulator: {'loss': '4:4 5:5 6:6 7:7 8:8 9:9 5:105 6:106 7:107', 'eval': '4:4 5:5 6:6 7:7 8:8 9:9'}
  tensorboard {'loss': '4:4 5:105 6:106 7:107', 'eval': '4:4 5:5 6:6 7:7 8:8 9:9'}
  tensorboard --purge_orphaned_data=false {'loss': '4:4 5:105 6:106 7:107', 'eval': '4:4 5:5 6:6 7:7 8:8 9:9'}
  tensorboard --load_fast=false {'loss': '4:4 5:5 6:6 7:7 8:8 9:9 5:105 6:106 7:107', 'eval': '4:4 5:5 6:6 7:7 8:8 9:9'}
E
