"""test_points.py COMMAND: killed at each write boundary, by its name. The fault must have been met, whatever is sealed then is whole, and the last run
leaves the bytes of an undisturbed one."""
import sys
import time

from faults import CODES_OF_A_KILL, TASKS, Workshop, left_overs, say

FILE = ("before_fsync", "before_rename", "after_rename")


def file_points(text, passing=1, rank=""):
    return [(f"file.{moment}", passing, rank, text) for moment in FILE]


CHECKPOINT = [("checkpoint.before_fsync", 2, "", ""), ("checkpoint.before_rename", 1, "", ""), ("checkpoint.after_rename", 1, "", ""),
              ("checkpoint.before_remove", 1, "", "")]

def result(weights):
    """Made aside, then given their places, done.json last."""
    return [(f"seal.{moment}", 1, "", text) for text in (weights, "done.json") for moment in ("before_rename", "after_rename")]


# POINT, the N-th passing, rank (any if empty), text in the path. A folder goes through a row of them: each kill finds what those before it have left.
# Rows are short where ranks work alone: the other one gets on, and may make all that is left, until the job is ended.
POINTS = {
    "translate": [file_points("run.json") + [("claim.before_link", 2, 0, "unit-"), ("claim.created", 2, 0, "unit-"), ("claim.before_release", 1, 1, "unit-")],
                  *([point] for point in file_points("unit-", 2, 1) + file_points("unit-", 1, 0)), file_points("translation.json")],
    "fit": [[("metric_log.before_append", 2, "", "")] + CHECKPOINT + result("generator.safetensors")],
    "tokens": [[("metric_log.before_append", 2, "", "")] + CHECKPOINT + result("learned_embeds.safetensors")],
    "train": [[("metric_log.before_append", 2, "", "")] + CHECKPOINT + result("encoder.safetensors")],
    "pack": [file_points("packing.json") + file_points("train-", 3) + file_points("dataset.json")],
}


def leaves(point, text, folder):
    """What the point's name says about the folder."""
    files = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    if point == "claim.before_link":
        return any(".claim-" in name and name.endswith(".tmp") for name in files)
    if point == "claim.created":
        return any(".claim-" in name for name in files)
    if point == "claim.before_release":
        return any(".claim-" in name and name.partition(".claim-")[0] in files for name in files)
    if point in ("checkpoint.before_fsync", "checkpoint.before_rename"):
        return any(".tmp/step-" in name for name in files)
    if point in ("file.before_fsync", "file.before_rename"):
        return any(name.endswith(".tmp") and text in name for name in files)
    if point == "seal.before_rename":
        return any(name.endswith((f".tmp/{text}", f".tmp/result/{text}")) for name in files)
    if point == "seal.after_rename":
        return any(name.endswith(text) and ".tmp/" not in name for name in files)
    if point == "file.after_rename":
        return any(text in name and not name.endswith(".tmp") for name in files)
    return True


def kill_at(task, place, point, passing, rank, text):
    fault = f"kill,{point},{passing},{rank},{text}"
    with task.job(place, env={"SYNCDR_FAULT": fault}) as job:
        code = job.wait()
        assert code in (CODES_OF_A_KILL if task.ranks else (-9,)), f"{fault}: exit code {code}, the point was not met:\n{job.output()}"
        assert leaves(point, text, task.result(place)), f"{fault}: ended elsewhere; there are {left_overs(place)}:\n{job.output()}"
        if task.ranks:
            assert "signal 9" in job.output(), f"{fault}: exit code {code}, and the launcher does not say who was killed:\n{job.output()}"
    task.expect_sealed(place)
    say(f"{task.name}: {fault}: exit code {code}")


def main(name):
    start = time.monotonic()
    workshop = Workshop()
    try:
        task = workshop.task(name)
        for number, row in enumerate(POINTS[name]):
            place = task.fresh(f"row-{number}")
            for point in row:
                kill_at(task, place, *point)
            task.finish(place)
    finally:
        workshop.close()
    say(f"{name}: {sum(map(len, POINTS[name]))} points, always the bytes of an undisturbed run; {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in TASKS:
        sys.exit(f"usage: test_points.py {'|'.join(TASKS)}")
    main(sys.argv[1])
