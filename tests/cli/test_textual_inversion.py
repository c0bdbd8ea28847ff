"""Learned tokens from their training to the report: fitted by `run` itself or given as files, kept apart by their content, and refused where they are wrong."""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

from support import BIN, DIFFUSION, MPIRUN, SMALL, TOKENS, bytes_of, expect, ranks_of, run, write_pictures

PROMPTS = '[photo]\ndescription = "a <photo>"\n[sketch]\ndescription = "a <sketch>"\n'


def write_tensors(file, **tensors):
    """A safetensors file: name -> rows of numbers."""
    header, data = {}, b""
    for name, rows in tensors.items():
        values = b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
        header[name] = {"dtype": "F32", "shape": [len(rows), len(rows[0])], "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return file


class TextualInversion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-tokens-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        write_pictures(cls.folder / "pictures")
        expect(run("syncdr-data", "pack", cls.folder / "pictures", "-o", cls.folder / "data"), 0)
        (cls.folder / "prompts.toml").write_text(PROMPTS)
        cls.config = cls.folder / "small.toml"
        cls.config.write_text(SMALL.replace('["cds", "filter", "cut", "true"]', '["cds", "filter", "structure"]\nmain = "structure"')
                              .replace("unit_rows = 16", f'unit_rows = 16\ntranslator = "structure"\nprompts = "{cls.folder / "prompts.toml"}"\n'
                                       "diffusion = { steps = 2 }") + DIFFUSION + TOKENS)
        expect(run("syncdr", *cls.arguments("fit", "diffusion", name="model"), ranks=2), 0)
        cls.model = cls.folder / "model" / "fit" / "diffusion" / "checkpoint"

    @classmethod
    def arguments(cls, *command, name="run", **settings):
        settings = {"data.root": cls.folder / "data", "run.out": cls.folder / name, **{key.replace("__", "."): value for key, value in settings.items()}}
        return [*command, cls.config, *(part for key, value in settings.items() for part in ("--set", f"{key}={value}"))]

    def command(self, *command, name="run", ranks=None, **settings):
        return run("syncdr", *self.arguments(*command, name=name, translate__diffusion__checkpoint=self.model, **settings), ranks=ranks)

    def units(self, name):
        return self.folder / "data" / "synthetic" / "photo-to-sketch" / f"{name}-structure"

    def token_file(self, name, **tensors):
        return write_tensors(self.folder / name, **tensors)

    def test_run_fits_the_tokens_that_its_texts_use_and_the_bytes_are_those_of_any_number_of_ranks(self):
        done = self.command("run", name="whole", ranks=2, translate__diffusion__fitted_tokens="true")
        expect(done, 0, "structure diffusion")
        self.assertNotIn("holds the learned token", done.stdout + done.stderr)
        for domain in ("photo", "sketch"):
            self.assertTrue((self.folder / "whole" / "fit" / "textual-inversion" / domain / "learned_embeds.safetensors").exists())
            self.assertTrue(list((self.folder / "whole" / "fit" / "textual-inversion" / domain / "samples").glob("*.png")))
        files = [str(self.folder / "whole" / "fit" / "textual-inversion" / domain / "learned_embeds.safetensors") for domain in ("photo", "sketch")]
        for ranks in (1, 3):
            expect(self.command("translate", name=f"given{ranks}", ranks=ranks, translate__diffusion__tokens=json.dumps(files)), 0)
            self.assertEqual(bytes_of(self.units(f"given{ranks}")), bytes_of(self.units("whole")))
        expect(self.command("translate", name="plain"), 0)
        self.assertNotEqual(bytes_of(self.units("plain")), bytes_of(self.units("whole")))

    def test_jobs_fit_the_tokens_before_the_translation(self):
        file = self.folder / "jobs.json"
        expect(run("syncdr", *self.arguments("jobs", translate__diffusion__checkpoint=self.model, translate__diffusion__fitted_tokens="true"), "--json", file), 0)
        needs = {job["name"]: (job["needs"], job["ranks"]) for job in json.loads(file.read_text())}
        self.assertEqual(needs["fit-textual-inversion"], ([], 4))
        self.assertEqual(needs["translate-structure"][0], ["fit-textual-inversion"])
        self.assertEqual(needs["translate-filter"][0], [])

    def test_tokens_that_were_not_fitted_yet_are_named(self):
        expect(self.command("translate", name="unfitted", translate__diffusion__fitted_tokens="true"), 65, "photo/learned_embeds.safetensors is not there",
               "`syncdr fit textual-inversion` makes it")

    def test_killed_and_resumed_it_leaves_the_same_tokens_and_figures(self):
        settings = {"fit__textual_inversion__steps": 60, "fit__textual_inversion__domains": '["sketch"]', "fit__textual_inversion__initial": '["s"]'}
        expect(self.command("fit", "textual-inversion", name="undisturbed", ranks=2, **settings), 0)
        command = [MPIRUN, "-np", "2", str(BIN / "syncdr"),
                   *map(str, self.arguments("fit", "textual-inversion", name="killed", translate__diffusion__checkpoint=self.model, **settings))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        checkpoints, deadline = self.folder / "killed" / "fit" / "textual-inversion" / "sketch" / "checkpoints", time.monotonic() + 60
        while not list(checkpoints.glob("step-*/manifest.json")) and time.monotonic() < deadline:
            time.sleep(0.002)
        victims = ranks_of(process)
        self.assertTrue(victims, "the job was over before it could be killed")
        os.kill(int(victims[-1]), signal.SIGKILL)
        self.assertIn(process.wait(60), (75, 137))
        expect(self.command("fit", "textual-inversion", name="killed", ranks=2, **settings), 0, "goes on after step")

        def left(name):
            folder = self.folder / name / "fit" / "textual-inversion" / "sketch"
            lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
            return (folder / "learned_embeds.safetensors").read_bytes(), [(line["step"], line["loss"], line["learning_rate"]) for line in lines]
        self.assertEqual(left("killed"), left("undisturbed"))

    def test_other_tokens_are_another_set(self):
        first = self.token_file("first.safetensors", **{"<sketch>": [[0.1] * 16, [0.2] * 16]})
        tokens = {"translate__diffusion__tokens": json.dumps([str(first)])}
        expect(self.command("translate", name="made", **tokens), 0)
        before = bytes_of(self.units("made"))
        expect(self.command("translate", name="made", **tokens), 0)
        self.token_file("first.safetensors", **{"<sketch>": [[0.1] * 16, [0.3] * 16]})
        expect(self.command("translate", name="made", **tokens), 2, "run.json", "was made with")
        expect(self.command("translate", name="made"), 2, "run.json", "was made with")
        self.assertEqual(bytes_of(self.units("made")), before)

    def test_a_token_that_no_text_holds_is_said(self):
        used, unused = self.token_file("used.safetensors", **{"<sketch>": [[0.1] * 16]}), self.token_file("unused.safetensors", **{"<ink>": [[0.1] * 16]})
        done = self.command("translate", name="said", translate__diffusion__tokens=json.dumps([str(used), str(unused)]))
        expect(done, 0, "no text of the translator structure holds the learned token <ink>")
        self.assertNotIn("learned token <sketch>", done.stdout + done.stderr)

    def test_files_that_are_wrong_are_refused_before_anything_is_begun(self):
        def refused(file, *texts):
            for command in (["translate"], ["run"]):
                expect(self.command(*command, name="refused", translate__diffusion__tokens=json.dumps([str(file)])), 65, *texts)
            self.assertFalse((self.folder / "refused").exists())
            self.assertFalse(self.units("refused").exists())
        refused(self.folder / "none.safetensors", "none.safetensors")
        refused(self.token_file("wide.safetensors", **{"<w>": [[0.5] * 768]}), "wide.safetensors", "768 values", "reads 16")
        refused(self.token_file("there.safetensors", **{"a": [[0.5] * 16]}), "there.safetensors", '"a" is a token already')
        refused(self.token_file("nan.safetensors", **{"<w>": [[float("nan")] * 16]}), "nan.safetensors", "not finite")
        refused(self.token_file("nameless.safetensors", **{"": [[0.5] * 16]}), "nameless.safetensors", "has no name")
        pickle = self.folder / "learned_embeds.bin"
        pickle.write_bytes(b"PK\3\4" + bytes(300))
        refused(pickle, "learned_embeds.bin", "syncdr-data convert")

    def test_settings_that_are_wrong_are_refused_before_anything_is_begun(self):
        def refused(code, text, **settings):
            settings = {"fit__textual_inversion__" + key: value for key, value in settings.items()}
            expect(self.command("fit", "textual-inversion", name="wrong", **settings), code, text)
            expect(self.command("run", name="wrong", translate__diffusion__fitted_tokens="true", **settings), code, text)
            self.assertFalse((self.folder / "wrong").exists())
        refused(65, "/nowhere", **{"from": "/nowhere"})
        refused(2, "is 5 tokens (i, n, k, y, s)", initial='["inkys", "s"]')
        refused(2, 'needs one {}', templates='["a picture"]')
        refused(2, "leaves no room for the 2 vectors of <photo>: the text encoder reads 14 tokens", templates="[]")
        refused(2, '"a</w>" is a token already', tokens='["a</w>", "<s>"]')
        refused(2, '"art" is none of photo, sketch', domains='["art"]')
        refused(2, "fit.textual_inversion.batch", batch=500)
        refused(2, "out of range", vectors=0)
        expect(run("syncdr", *self.arguments("fit", "textual-inversion", name="wrong")), 2, "fit.textual_inversion.from names no checkpoint")


if __name__ == "__main__":
    unittest.main()
