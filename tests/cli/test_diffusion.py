"""A diffusion model from its training to the report, the bytes of its translations, and checkpoints that are broken."""
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

from support import BIN, DIFFUSION, MPIRUN, PROMPTS, SMALL, bytes_of, expect, ranks_of, run, write_pictures


class Diffusion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-diffusion-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        write_pictures(cls.folder / "pictures")
        expect(run("syncdr-data", "pack", cls.folder / "pictures", "-o", cls.folder / "data"), 0)
        (cls.folder / "prompts.toml").write_text(PROMPTS)
        cls.config = cls.folder / "small.toml"
        cls.config.write_text(SMALL.replace('["cds", "filter", "cut", "true"]', '["cds", "filter", "structure:1", "structure"]\nmain = "structure"')
                              .replace("unit_rows = 16", f'unit_rows = 4\nvariants = 2\ntranslator = "structure"\nprompts = "{cls.folder / "prompts.toml"}"\n'
                                       "diffusion = { steps = 2 }") + DIFFUSION)
        expect(cls.command("fit", "diffusion", name="model", ranks=2), 0)
        cls.model = cls.folder / "model" / "fit" / "diffusion" / "checkpoint"

    @classmethod
    def command(cls, *command, name="run", ranks=1):
        command, arguments = [*command[:2]] if command[0] == "fit" else [command[0]], command[2 if command[0] == "fit" else 1:]
        return run("syncdr", *command, cls.config, "--set", f"data.root={cls.folder / 'data'}", "--set", f"run.out={cls.folder / name}", *arguments, ranks=ranks)

    def translate(self, *arguments, name="run", ranks=1, model=None):
        return self.command("translate", "--set", f"translate.diffusion.checkpoint={model or self.model}", *arguments, name=name, ranks=ranks)

    def units(self, name):
        return self.folder / "data" / "synthetic" / "photo-to-sketch" / f"{name}-structure"

    def test_the_whole_job_trains_translates_and_compares_one_variant_with_all(self):
        expect(self.command("run", name="whole", ranks=2), 0, "structure diffusion, 1 variant", "structure diffusion, 2 variants")
        metrics = json.loads((self.folder / "whole" / "metrics.json").read_text())
        self.assertEqual(set(metrics["controls"]), {"filter", "structure:1"})
        self.assertTrue(list((self.folder / "whole" / "fit" / "diffusion" / "samples").glob("*.png")))
        images = {file: file.stat().st_mtime_ns for file in self.units("whole").glob("unit-*.h5")}
        expect(self.command("run", name="whole", ranks=2), 0)
        self.assertEqual(images, {file: file.stat().st_mtime_ns for file in images})

    def test_a_sweep_makes_a_sheet_with_a_column_for_each_value_and_nothing_else(self):
        before = {file: file.stat().st_mtime_ns for file in self.folder.rglob("*")}
        done = self.translate("--sweep", "translate.structure.guidance=0.5,2,4", name="swept")
        expect(done, 0, "sweep-translate.structure.guidance.png")
        sheet = self.folder / "swept" / "sweep-translate.structure.guidance.png"
        self.assertEqual({file for file in self.folder.rglob("*") if file not in before}, {sheet.parent, sheet})
        width, height = struct.unpack(">II", sheet.read_bytes()[16:24])
        self.assertEqual((width, height), (4 * 36 - 4, 24 + 2 * (24 + 4 * 36)))  # source and three values; four pictures of each direction
        expect(self.translate("--sweep", "translate.diffusion.scheduler=DDIMScheduler,LCMScheduler", name="swept"), 0)
        expect(self.translate("--sweep", "translate.structure.sigma=[0.5,1.5],[1, 2]", name="swept"), 0, "translate.structure.sigma = [1, 2] done")
        again = sheet.read_bytes()
        expect(self.translate("--sweep", "translate.structure.guidance=0.5,2,4", name="swept"), 0)
        self.assertEqual(sheet.read_bytes(), again)

    def test_a_sweep_that_makes_no_sense_is_refused(self):
        for sweep, text in (("translate.img2img.strenght=0.2", "Did you mean \"translate.img2img.strength\""), ("translate.img2img.strength", "has no values"),
                            ("translate.img2img.strength=", "an empty one"), ("translate.img2img.strength=0.2,,0.4", "an empty one"),
                            ("translate.img2img.strength=0.2,2", "out of range"), ("translate.size=small", "whole number"), ("train.epochs=1,2", "train.epochs"),
                            ("translate.img2img.strength=0.2,0.4", "the translator structure does not read it. Of keys that are not all translators' it reads translate.diffusion.checkpoint,")):
            expect(self.translate("--sweep", sweep, name="unmade"), 2, text)
        expect(self.translate("--sweep", "seed=1,2", name="unmade", ranks=2), 2, "one rank does it")
        expect(self.translate("--sweep", "seed=1,2", "--set", "translate.translator=filter", name="unmade"), 2, "filter draws nothing at random")
        self.assertFalse((self.folder / "unmade").exists())

    def test_translations_are_the_same_bytes_on_any_number_of_ranks_and_after_a_kill(self):
        reference = None
        for ranks in (1, 2, 3):
            expect(self.translate(name=f"ranks{ranks}", ranks=ranks), 0)
            made = bytes_of(self.units(f"ranks{ranks}"))
            self.assertGreater(len(made), 5)
            reference = reference or made
            self.assertEqual(made, reference)

        command = [MPIRUN, "-np", "2", str(BIN / "syncdr"), "translate", str(self.config), "--set", f"data.root={self.folder / 'data'}",
                   "--set", f"run.out={self.folder / 'killed'}", "--set", f"translate.diffusion.checkpoint={self.model}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 60
        while len(list(self.units("killed").glob("unit-*.h5"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.002)
        victims = ranks_of(process)
        self.assertTrue(victims, "the job was over before it could be killed")
        subprocess.run(["kill", "-9", random.choice(victims)], check=False)
        self.assertEqual(process.wait(60), 75)
        self.assertLess(len(list(self.units("killed").glob("unit-*.h5"))), len(reference))
        expect(self.translate(name="killed", ranks=2), 0)
        self.assertEqual(bytes_of(self.units("killed")), reference)

    def broken(self, name, change, *texts):
        model = self.folder / name
        shutil.copytree(self.model, model)
        change(model)
        expect(self.translate(name=f"run-{name}", model=model), 65, *texts)

    def edit(self, file, **fields):
        def change(model):
            config = json.loads((model / file).read_text())
            (model / file).write_text(json.dumps({**config, **fields}))
        return change

    def test_a_broken_checkpoint_is_named_by_file_and_field(self):
        self.broken("no-component", lambda model: shutil.rmtree(model / "unet"), "no-component/unet")
        self.broken("wrong-shape", self.edit("unet/config.json", block_out_channels=[8, 24]), "wrong-shape/unet", "has shape")
        self.broken("class", self.edit("model_index.json", unet=["diffusers", "FluxTransformer2DModel"]), "model_index.json", "FluxTransformer2DModel")
        self.broken("field", self.edit("unet/config.json", addition_embed_type="text_time"), "unet/config.json", "addition_embed_type")
        self.broken("merges", lambda model: (model / "tokenizer" / "merges.txt").unlink(), "merges.txt")
        weights = "unet/diffusion_pytorch_model.safetensors"
        self.broken("truncated", lambda model: os.truncate(model / weights, (model / weights).stat().st_size - 7), weights)

        def overlap(model):
            content = (model / weights).read_bytes()
            size = int.from_bytes(content[:8], "little")
            header = json.loads(content[8:8 + size])
            first, second = sorted(name for name in header if name != "__metadata__")[:2]
            header[second]["data_offsets"] = header[first]["data_offsets"]
            text = json.dumps(header).encode()
            (model / weights).write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size:])
        self.broken("overlap", overlap, weights)

    def test_another_sampler_takes_the_place_of_one_that_is_not_here(self):
        # As fine-tuned models are published: a class that is not here, fields of several that are, and a number that JSON has not.
        other = """{"_class_name": "DPMSolverSinglestepScheduler", "_diffusers_version": "0.42.1", "algorithm_type": "dpmsolver++", "beta_end": 0.012,
            "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": false, "lambda_min_clipped": -Infinity, "lower_order_final": true,
            "num_train_timesteps": 1000, "prediction_type": "epsilon", "set_alpha_to_one": false, "skip_prk_steps": true, "solver_order": 2,
            "solver_type": "midpoint", "steps_offset": 1, "thresholding": false, "timestep_spacing": "leading", "trained_betas": null,
            "use_karras_sigmas": false, "variance_type": null}"""
        def with_other(model):
            (model / "scheduler" / "scheduler_config.json").write_text(other)
            index = json.loads((model / "model_index.json").read_text())
            (model / "model_index.json").write_text(json.dumps({**index, "scheduler": ["diffusers", "DPMSolverSinglestepScheduler"]}))
        self.broken("other", with_other, "other/scheduler/scheduler_config.json", '"DPMSolverSinglestepScheduler"', "set translate.diffusion.scheduler=DDIMScheduler, or one of", "EulerDiscreteScheduler")
        key = ("--set", "translate.diffusion.scheduler=DDIMScheduler")
        expect(self.translate(*key, model=self.folder / "other", name="ddim"), 0, "sampler DDIMScheduler: 2 of 2 calls of the UNet, the first at timestep 501")
        self.assertTrue(bytes_of(self.units("ddim")))
        expect(self.translate("--set", "translate.diffusion.scheduler=DPMSolverSinglestepScheduler", model=self.folder / "other", name="no-class"), 2,
               "translate.diffusion.scheduler", "DPMSolverSinglestepScheduler", "DDIMScheduler")

    def write_lora(self, name, layer="unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q", sides=(("A", [2, 16]), ("B", [16, 2])), value=0.5):
        """A safetensors file by hand: a pair of matrices full of one value."""
        header, data = {}, b""
        for part, shape in sides:
            values = struct.pack("<f", value) * (shape[0] * shape[1])
            header[f"{layer}.lora_{part}.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
            data += values
        text = json.dumps(header).encode()
        (self.folder / name).write_bytes(len(text).to_bytes(8, "little") + text + data)
        return self.folder / name

    def test_a_lora_changes_the_translations_and_is_part_of_what_made_them(self):
        def with_lora(*arguments, scale=1.0, **more):
            return self.translate("--set", f'translate.diffusion.lora=[{{file = "{file}", scale = {scale}}}]', *arguments, **more)
        file = self.write_lora("a.safetensors")
        expect(self.translate(name="no-lora"), 0)
        plain, made = bytes_of(self.units("no-lora")), []
        for ranks in (1, 2, 3):
            done = with_lora(name=f"lora{ranks}", ranks=ranks)
            expect(done, 0, "a.safetensors: a LoRA for layers of the UNet (1) and the text encoder (0), rank 2, scale 1; alpha: not said, so the rank, for 1 layers")
            self.assertEqual(done.stderr.count("a LoRA for layers"), 1, "both directions share the networks")
            made.append(bytes_of(self.units(f"lora{ranks}")))
        self.assertEqual(made[1:], made[:1] * 2)
        self.assertFalse(set(plain.values()) & set(made[0].values()))
        expect(with_lora(name="lora1"), 0)
        expect(with_lora(name="lora1", scale=0.5), 2, "a.safetensors at 1 (", "a.safetensors at 0.5 (")
        self.write_lora("a.safetensors", value=0.25)
        expect(with_lora(name="lora1"), 2, "was made with lora = a.safetensors at 1 (")
        expect(self.translate(name="lora1"), 2, "was made with lora = a.safetensors at 1 (", "now it is not set")

    def test_a_lora_that_is_wrong_is_refused_before_any_work(self):
        def refuse(code, value, *texts):
            expect(self.translate("--set", f"translate.diffusion.lora={value}", name="bad-lora"), code, *texts)
            expect(self.command("run", "--set", f"translate.diffusion.lora={value}", name="bad-lora"), code, *texts)  # there a model is fitted first
        refuse(2, "a.safetensors", "must be a list, as in [{file = '', scale = 1.0}]")
        refuse(2, '[{fil = "a"}]', 'translate.diffusion.lora[0]: unknown key "fil". Did you mean "file"?')
        refuse(2, '[{file = "a", scale = 1e9}]', "scale = 1000000000", "is out of range")
        refuse(2, "[{scale = 2}]", "translate.diffusion.lora[0] names no file")
        refuse(65, '[{file = "/nowhere.safetensors"}]', "/nowhere.safetensors: there is no such LoRA file")
        (self.folder / "lora.bin").write_bytes(b"PK\x03\x04" + bytes(60))
        refuse(65, f'[{{file = "{self.folder / "lora.bin"}"}}]', "lora.bin: is a pickle", "syncdr-data convert")
        refuse(65, f'[{{file = "{self.write_lora("half.safetensors", sides=(("A", [2, 16]),))}"}}]', "half.safetensors", "has lora_A (down) alone")
        file = self.write_lora("wide.safetensors", sides=(("A", [2, 17]), ("B", [16, 2])))
        expect(self.translate("--set", f'translate.diffusion.lora=[{{file = "{file}"}}]', name="bad-lora"), 65, "adds [16, 17] to a weight of [16, 16]")
        file = self.write_lora("other.safetensors", layer="unet.down_blocks.9.conv")
        expect(self.translate("--set", f'translate.diffusion.lora=[{{file = "{file}"}}]', name="bad-lora"), 65, "fit nothing here")
        self.assertFalse((self.folder / "bad-lora").exists())
        self.assertFalse(list(self.folder.glob("data/synthetic/*/bad-lora*")))

    def test_prompts_that_are_wrong_are_named_by_file_and_key(self):
        def expect_prompts(content, *texts):
            (self.folder / "wrong.toml").write_text(content)
            expect(self.translate("--set", f"translate.prompts={self.folder / 'wrong.toml'}", name="prompts"), 65, "wrong.toml", *texts)
        expect_prompts('[sketch]\ndescripton = "a sketch"\n', 'unknown key "sketch.descripton"')
        expect_prompts('[photo]\ndescription = "a photo"\n', 'domain "sketch" has no description')
        expect_prompts('[sketch]\ndescription = "a sketch"\n', 'domain "photo" has no description')  # of the second direction: before the first is made
        self.assertFalse(list(self.folder.glob("data/synthetic/*/prompts*")))
        expect_prompts("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a Git LFS pointer")
        expect(self.translate("--set", "translate.prompts=", name="prompts"), 2, "translate.prompts")

    def test_texts_that_are_missing_are_named_before_a_model_is_fitted(self):
        expect(self.command("run", "--set", "translate.prompts=", name="no-prompts"), 2, "set translate.prompts to a prompt file")
        (self.folder / "half.toml").write_text('[photo]\ndescription = "a photo"\n')
        expect(self.command("run", "--set", f"translate.prompts={self.folder / 'half.toml'}", name="no-prompts"), 65, 'domain "sketch" has no description')
        self.assertFalse((self.folder / "no-prompts").exists())


if __name__ == "__main__":
    unittest.main()
