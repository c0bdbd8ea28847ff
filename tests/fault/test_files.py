"""Files that cannot be written, and files that are not what was written: the right message, sealed data intact, a rerun completes."""
import json
import os
import re
import shutil
import subprocess
import unittest

from faults import Workshop, left_overs

PAGE = os.sysconf("SC_PAGE_SIZE")


def pages(paths):
    """Bytes that files take on a tmpfs."""
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in paths if path.is_file())


def command(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.stderr.strip()}. These tests mount a file system of 16 MiB: run them as root, with CAP_SYS_ADMIN."


class Disk:
    """16 MiB of memory as a file system."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        command("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder)

    def close(self):
        command("umount", self.folder)

    def fill(self, free):
        """Leaves at most so many bytes."""
        state = os.statvfs(self.folder)
        room = state.f_bavail * state.f_frsize
        if room > free:
            with (self.folder / "ballast").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, (room - free) // PAGE * PAGE)

    def make_room(self):
        (self.folder / "ballast").unlink(missing_ok=True)
        self.mount_again("size=128m")

    def mount_again(self, how):
        command("mount", "-o", f"remount,{how}", self.folder)


def times(folder, names):
    return {name: (folder / name).stat().st_mtime_ns for name in names}


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1 << 3
    path.write_bytes(content)


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.workshop = Workshop()
        cls.addClassCleanup(cls.workshop.close)

    def on_a_bad_disk(self, name, room, sealed):
        """room(files of the undisturbed run) bytes are free; at least one file that `sealed` matches, and not all of them, can be finished there."""
        task = self.workshop.task(name)
        disk = Disk(self.workshop.folder / f"disk-{name}")
        self.addCleanup(disk.close)
        place = task.fresh("place", under=disk.folder)
        folder = task.result(place)
        disk.fill(room(task.result(task.whole)))
        with task.job(place) as job:
            job.expect(74, re.escape(str(folder)) + ".*No space left on device")
        task.expect_sealed(place)
        # A checkpoint in the making is left for the next one to remove.
        self.assertEqual([name for name in left_overs(folder) if "checkpoints/step-" not in name], [])
        kept = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if re.search(sealed, str(path)))
        self.assertTrue(kept, "nothing was sealed before the disk was full")
        before = times(folder, kept)

        disk.make_room()
        disk.mount_again("ro")
        with task.job(place) as job:
            job.expect(74, re.escape(str(place)) + ".*Read-only file system")
        task.expect_sealed(place)
        self.assertEqual(times(folder, kept), before)

        disk.mount_again("rw")
        task.finish(place)
        self.assertEqual(times(folder, [name for name in kept if (folder / name).exists()]),
                         {name: time for name, time in before.items() if (folder / name).exists()}, "what was sealed has been made again")

    def test_translating_on_a_full_and_on_a_read_only_disk(self):
        self.on_a_bad_disk("translate", lambda folder: 2 * pages(folder.rglob("*")) // 5, r"unit-\d+\.h5$")

    def test_training_on_a_full_and_on_a_read_only_disk(self):
        self.on_a_bad_disk("train", lambda folder: 3 * pages(next(folder.rglob("step-*")).rglob("*")) // 2, r"step-\d+/manifest\.json$")

    def test_fitting_on_a_full_and_on_a_read_only_disk(self):
        # Three checkpoints lie there while the oldest is replaced.
        self.on_a_bad_disk("fit", lambda folder: 5 * pages(next(folder.rglob("step-*")).rglob("*")) // 2, r"step-\d+/manifest\.json$")

    def test_packing_on_a_full_and_on_a_read_only_disk(self):
        self.on_a_bad_disk("pack", lambda folder: 2 * pages(folder.rglob("*")) // 5, r"\d\.h5$")

    def test_damaged_units_are_named_and_made_again_and_the_others_are_kept(self):
        task = self.workshop.task("translate")
        place = task.copy("damaged")
        (task.result(place) / "sketch-to-photo" / "run-cut" / "translation.json").unlink()  # one direction with a manifest, one without
        damaged = []
        for direction in ("photo-to-sketch", "sketch-to-photo"):
            units = sorted((task.result(place) / direction).rglob("unit-*.h5"))
            truncate(units[1])
            flip(units[3])
            units[4].write_bytes(b"")
            damaged += [units[1], units[3], units[4]]
        kept = [str(unit.relative_to(place)) for unit in task.units(place) if unit not in damaged]
        before = times(place, kept)
        task.finish(place, *(f"damaged unit is made again: .*{unit.parent.parent.name}/.*{unit.name}" for unit in damaged))
        self.assertEqual(times(place, kept), before)

    def test_damaged_checkpoints_are_named_and_passed_over(self):
        for name, last in (("train", ("encoder.safetensors", "done.json")), ("fit", ("generator.safetensors", "done.json"))):
            task = self.workshop.task(name)
            for all_of_them in (False, True):
                place = task.copy(f"damaged-{all_of_them}")
                for path in list(task.result(place).rglob("*")):
                    if path.name in last:
                        path.unlink()
                texts = []
                for folder in task.result(place).rglob("checkpoints"):
                    newest, older = sorted(folder.iterdir(), key=lambda step: -int(step.name.removeprefix("step-")))[:2]
                    flip(newest / "tensors.safetensors")
                    texts.append(f"{newest}.* damaged")
                    if all_of_them:
                        truncate(older / "state.json")
                        texts.append(f"{older}.* damaged")
                task.finish(place, *texts)

    def test_damaged_shards_of_an_unfinished_dataset_are_packed_again_and_the_others_are_kept(self):
        task = self.workshop.task("pack")
        place = task.copy("damaged")
        folder = task.result(place)
        manifest = json.loads((folder / "dataset.json").read_text())
        (folder / "packing.json").write_text(json.dumps({**manifest, "kind": "unfinished dataset"}))
        (folder / "dataset.json").unlink()
        shards = sorted(folder.rglob("*.h5"))
        truncate(shards[1])
        flip(shards[-2])
        kept = [str(shard.relative_to(folder)) for shard in shards if shard not in (shards[1], shards[-2])]
        before = times(folder, kept)
        task.finish(place, *(f"{shard}.* packed again" for shard in (shards[1], shards[-2])))
        self.assertEqual(times(folder, kept), before, "sealed shards were packed again")

    def test_temporary_files_of_an_earlier_run_are_removed(self):
        for name, stale in (("translate", ["photo-to-sketch/run-cut/unit-00001.h5.tmp", "photo-to-sketch/run-cut/run.json.tmp", "sketch-to-photo/run-cut/translation.json.tmp"]),
                            ("train", ["cds/checkpoints/0123-4-5-1.tmp/step-1/tensors.safetensors.tmp", "cds/checkpoints/step-999.tmp/state.json"]),
                            ("pack", ["real/photo/train-00000-of-00007.h5.tmp", "dataset.json.tmp"])):
            task = self.workshop.task(name)
            place = task.fresh("stale")
            if name == "pack":  # a folder that holds something is packed into only if it is an unfinished dataset
                shutil.copytree(task.whole / "data", place / "data")
                manifest = json.loads((place / "data" / "dataset.json").read_text())
                (place / "data" / "packing.json").write_text(json.dumps({**manifest, "kind": "unfinished dataset", "entries": []}))
                (place / "data" / "dataset.json").unlink()
                stale[0] = str(sorted(task.result(place).rglob("*.h5"))[2].relative_to(task.result(place))) + ".tmp"
            for file in stale:
                path = task.result(place) / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"half of somethi")
            task.finish(place)


if __name__ == "__main__":
    unittest.main()
