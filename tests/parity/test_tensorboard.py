"""TensorBoard's own readers on the event files of a training, also of one that was killed and goes on: every step once, the values of log.jsonl."""
import json
import logging
import os
import pathlib
import struct
import sys

from tensorboard.backend.event_processing import event_accumulator, event_file_loader, plugin_event_accumulator
from tensorboard.compat.proto import event_pb2
from tensorboard.util import tensor_util

from probe import FAILURES, FOLDER, finish

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
os.environ.setdefault("SYNCDR_MPIRUN", "")
from support import SMALL, expect, run, write_pictures  # noqa: E402

logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it says how many points a restart has made it forget


def check(what, good):
    print(f"{'ok  ' if good else 'FAIL'} {what}", flush=True)
    if not good:
        FAILURES.append(what)


def curves_of_log(folder):
    curves = {}
    for line in (folder / "log.jsonl").read_text().splitlines():
        figures = json.loads(line)
        step = figures.pop("step")
        for name, value in figures.items():
            if value is not None:
                curves.setdefault(name, []).append((step, struct.unpack("f", struct.pack("f", value))[0]))
    return curves


def curves_of_library(folder):
    """By the reader that scripts use."""
    events = event_accumulator.EventAccumulator(str(folder), size_guidance={event_accumulator.SCALARS: 0})
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def curves_of_page(folder):
    """By the loader behind the page."""
    events = plugin_event_accumulator.EventAccumulator(str(folder), tensor_size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(event.step, tensor_util.make_ndarray(event.tensor_proto).item()) for event in events.Tensors(tag)] for tag in events.Tags()["tensors"]}


def compare(folder, what):
    expected = curves_of_log(folder)
    check(f"{what}: the log has losses and validations", {"loss", "val_score", "learning_rate"} <= expected.keys())
    for reader in (curves_of_library, curves_of_page):
        found = reader(folder)
        check(f"{what}: {reader.__doc__} every step once, values of the log", found == expected)
        check(f"{what}: {reader.__doc__} steps rise", all(one[0] < other[0] for curve in found.values() for one, other in zip(curve, curve[1:])))


def sessions(folder):
    return sorted(folder.glob("events.out.tfevents.*"))


def first_events(file):
    return list(event_file_loader.LegacyEventFileLoader(str(file)).Load())[:2]


write_pictures(FOLDER / "pictures", categories=6, images=5)
expect(run("syncdr-data", "pack", FOLDER / "pictures", "-o", FOLDER / "data", "--no-disjoint"), 0)
config = FOLDER / "small.toml"
config.write_text(SMALL + f"[data]\nroot = \"{FOLDER / 'data'}\"\n")


def train(name, *settings, **options):
    return run("syncdr", "train", config, "--arm", "cds", "--set", f"run.out={FOLDER / name}", "--set", "train.epochs=12", "--set", "train.log_every=1",
               "--set", "train.checkpoint_every=4", "--set", "train.validate_every=3", *settings, **options)


expect(train("whole"), 0)
whole = FOLDER / "whole" / "train" / "cds"
compare(whole, "undisturbed")
check("undisturbed: one file", len(sessions(whole)) == 1)

# Killed at its 9th line, of step 7, which follows the checkpoint of step 4; then at the 3rd line of what goes on. The first leaves half a record.
killed = FOLDER / "killed" / "train" / "cds"
for lines in (9, 3):
    process = train("killed", env={"SYNCDR_FAULT": f"kill,metric_log.before_append,{lines},,"})
    check(f"killed at line {lines}", process.returncode not in (0, 2))
with open(sessions(killed)[0], "ab") as file:
    file.write(sessions(whole)[0].read_bytes()[:30])
expect(train("killed"), 0)
compare(killed, "killed twice")
check("killed twice: three files", len(sessions(killed)) == 3)
last_steps = [event.step for event in event_file_loader.LegacyEventFileLoader(str(sessions(killed)[0])).Load()]
for place, file in enumerate(sessions(killed)):
    version, start = first_events(file)
    check(f"session {place}: begins with the version", version.file_version == "brain.Event:2")
    check(f"session {place}: then with its start", start.session_log.status == event_pb2.SessionLog.START and start.step == (1 if place == 0 else 5))
check("what is made again was there", max(last_steps) > 4)
same = ("loss", "val_score")
check("what goes on has the figures of an undisturbed run", all(curves_of_log(whole)[name] == curves_of_log(killed)[name] for name in same))
finish()
