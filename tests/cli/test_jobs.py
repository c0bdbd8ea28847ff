"""`syncdr jobs`: the jobs that a configuration comes to, without ranks and without its dataset; and that slurm/pipeline.sh submits these."""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import tomllib
import unittest

from support import BIN, MPIRUN, SMALL, expect, run

PIPELINE = pathlib.Path(MPIRUN).resolve().parents[1] / "slurm" / "pipeline.sh"


def sets(**values):
    return [part for key, value in values.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]


class Jobs(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-jobs-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.config = self.folder / "my small.toml"
        self.config.write_text('[data]\nroot = "/nowhere"\n' + SMALL.replace("[translate]", '[translate]\nprompts = "texts.toml"'))

    def jobs(self, *arguments):
        """{name: job}, in their order; text and JSON say the same."""
        file = self.folder / "jobs.json"
        done = run("syncdr", "jobs", self.config, *arguments, "--json", file)
        expect(done, 0)
        jobs = json.loads(file.read_text())
        lines = [[job["name"], job["phase"], ",".join(job["needs"]) or "-", str(job["ranks"] or "-"), job["out"], *job["arguments"]] for job in jobs]
        self.assertEqual([line.split("\t") for line in done.stdout.splitlines()], lines)
        return {job["name"]: job for job in jobs}

    def resolved(self, job):
        """The configuration that the job's command comes to."""
        done = run("syncdr", job["phase"], *job["arguments"], "--print-config")
        expect(done, 0)
        return tomllib.loads(done.stdout)

    def test_each_phase_that_an_arm_needs_is_a_job(self):
        jobs = self.jobs()
        self.assertEqual({name: job["needs"] for name, job in jobs.items()},
                         {"train-cds": [], "translate-filter": [], "train-filter": ["translate-filter"], "fit-cut": [], "translate-cut": ["fit-cut"],
                          "train-cut": ["translate-cut"], "train-true": [], "run": ["train-cds", "train-filter", "train-cut", "train-true"]})
        self.assertEqual(list(jobs)[-1], "run")
        self.assertEqual({job["out"] for job in jobs.values()}, {"runs/my small"})
        self.assertEqual({name: job["ranks"] for name, job in jobs.items() if job["phase"] != "train"},
                         {"translate-filter": None, "fit-cut": 4, "translate-cut": None, "run": None})
        self.assertEqual({job["ranks"] for job in jobs.values() if job["phase"] == "train"}, {8})
        self.assertEqual(jobs["fit-cut"]["arguments"], ["cut", str(self.config)])
        self.assertEqual(jobs["train-cds"]["arguments"], [str(self.config), "--arm", "cds"])
        self.assertEqual(jobs["run"]["arguments"], [str(self.config)])

    def test_arms_that_are_not_trained_have_no_jobs(self):
        jobs = self.jobs(*sets(run__arms='["untrained", "cds", "centred"]', run__main="cds"))
        self.assertEqual(list(jobs), ["train-cds", "run"])

    def test_arms_of_one_translator_share_its_translation(self):
        jobs = self.jobs(*sets(run__arms='["structure:1", "structure", "img2img"]', run__main="structure", translate__translator="structure"))
        self.assertEqual({name: job["needs"] for name, job in jobs.items()},
                         {"fit-diffusion": [], "translate-structure": ["fit-diffusion"], "train-structure-1": ["translate-structure"],
                          "train-structure": ["translate-structure"], "translate-img2img": ["fit-diffusion"], "train-img2img": ["translate-img2img"],
                          "run": ["train-structure-1", "train-structure", "train-img2img"]})
        self.assertEqual(jobs["train-structure-1"]["arguments"][-2:], ["--arm", "structure:1"])

    def test_a_mixture_needs_what_each_of_its_parts_needs(self):
        jobs = self.jobs(*sets(run__arms='["structure:1+cut", "filter+true"]', run__main="structure:1+cut"))
        self.assertEqual({name: job["needs"] for name, job in jobs.items()},
                         {"fit-diffusion": [], "fit-cut": [], "translate-structure": ["fit-diffusion"], "translate-cut": ["fit-cut"],
                          "train-structure-1+cut": ["translate-structure", "translate-cut"], "translate-filter": [], "train-filter+true": ["translate-filter"],
                          "run": ["train-structure-1+cut", "train-filter+true"]})
        self.assertEqual(jobs["train-structure-1+cut"]["arguments"][-2:], ["--arm", "structure:1+cut"])
        self.assertEqual(self.resolved(jobs["translate-structure"])["translate"]["translator"], "structure")

    def test_a_model_that_is_given_is_not_fitted(self):
        jobs = self.jobs(*sets(translate__cut__weights="there.safetensors"))
        self.assertNotIn("fit-cut", jobs)
        self.assertEqual(jobs["translate-cut"]["needs"], [])

    def test_every_translator_can_be_named_alone_and_beside_another(self):
        known = re.search(r"translate\.translator .*\((.*)\)", run("syncdr", "keys").stdout)[1].split(" | ")
        self.assertLessEqual({"cut", "filter", "img2img", "instruct", "ddib", "structure"}, set(known))
        for name in known:
            with self.subTest(name):
                own = self.jobs(*sets(run__arms=f'["{name}"]', run__main=name, translate__translator=name))
                translate = self.resolved(own[f"translate-{name}"])["translate"]
                self.assertEqual((translate["translator"], translate["run"]), (name, ""))
                other = next(one for one in known if one != name)
                beside = self.jobs(*sets(run__arms=f'["{name}"]', run__main=name, run__out="runs/here", translate__translator=other, translate__variants=3))
                translate = self.resolved(beside[f"translate-{name}"])["translate"]
                self.assertEqual((translate["translator"], translate["run"]), (name, f"here-{name}"))
                draws_nothing = {"cut": True, "filter": True, "ddib": True, "img2img": False, "instruct": False, "structure": False}
                self.assertEqual(translate["variants"], 1 if draws_nothing.get(name, translate["variants"] == 1) else 3)

    def test_every_command_that_is_printed_is_one(self):
        for job in self.jobs(*sets(train__epochs=3)).values():
            self.assertEqual(self.resolved(job)["train"]["epochs"], 3)

    def test_a_wrong_configuration_is_refused_before_anything(self):
        file = self.folder / "jobs.json"
        for arguments, said in ((sets(run__nowhere=1), 'unknown key "run.nowhere"'), (sets(run__arms='["cut:0"]'), "is no arm"),
                                (sets(run__arms='["cut+"]'), "a part of one beside a +, has no name"), (sets(run__arms='["cut+cds"]'), "cds uses no translations, so nothing can be added to it"),
                                (sets(run__arms='["cut:1+filter+cut"]'), '"cut" is in it twice'),
                                (sets(train__shares='["cut=0"]'), '"cut=0" is no share'), (sets(train__shares='["cut"]'), '"cut" is no share'),
                                (sets(train__shares='["magic=2"]'), '"magic" is no part of an arm in run.arms (cds, filter, cut, true)'),
                                (sets(train__shares='["cut=2", "cut=1"]'), 'names "cut" twice'),
                                (sets(data__domains='["photo"]'), "two or more different domains"),
                                (sets(translate__translator="magic"), "it must be one of cut, filter"), (sets(data__root=""), "data.root is not set"),
                                (sets(run__title="a\tb"), "holds a tab"),
                                (sets(run__arms='["ddib"]', run__main="ddib", translate__prompts=""), "set translate.prompts to a prompt file"),
                                (sets(run__arms='["a,b"]', run__main="a,b"), "without a comma")):
            with self.subTest(said):
                done = run("syncdr", "jobs", self.config, *arguments, "--json", file)
                expect(done, 2, said)
                self.assertEqual(done.stdout, "")
                self.assertFalse(file.exists())
        expect(run("syncdr", "jobs", self.folder / "none.toml"), 2, "there is no such configuration file")

    def dry(self, *arguments):
        """The lines of slurm/pipeline.sh --dry-run as words."""
        done = subprocess.run([PIPELINE, self.config, "--dry-run", *map(str, arguments)], capture_output=True, text=True, env={**os.environ, "SYNCDR_BIN": str(BIN)})
        expect(done, 0)
        return [shlex.split(line) for line in done.stdout.splitlines()]

    def test_pipeline_submits_the_jobs(self):
        lines = self.dry("--nodes", "2", "--nodes-translate", "5", "--array", "3", "--", "--time=4:00:00")
        jobs = self.jobs()
        self.assertEqual(len(lines), len(jobs))
        for line, job in zip(lines, jobs.values()):
            words = ["sbatch", "--parsable", f"--job-name=syncdr-{job['name']}", "--output=runs/my small/slurm/%x-%j.log",
                     f"--nodes={5 if job['phase'] == 'translate' else 2}", "--ntasks-per-node=1", "--cpus-per-task=1"]
            if job["phase"] == "translate":
                words += ["--array=1-3"]
            if job["needs"]:
                words += ["--dependency=afterok:" + ":".join(f"<{need}>" for need in job["needs"]), "--kill-on-invalid-dep=yes"]
            self.assertEqual(line, words + ["--time=4:00:00", str(PIPELINE.with_name("phase.sbatch")), job["phase"], *job["arguments"]])

    def test_pipeline_gives_no_job_more_ranks_than_it_can_use(self):
        sizes = {line[2].partition("-name=syncdr-")[2]: tuple(re.findall(r"(?:nodes|tasks-per-node|gpus-per-node)=(\d+)", " ".join(line)))
                 for line in self.dry("--nodes", "2", "--gpus", "8")}
        self.assertEqual({name: sizes[name] for name in ("fit-cut", "translate-cut", "train-cut", "run")},
                         {"fit-cut": ("2", "2", "2"), "translate-cut": ("2", "8", "8"), "train-cut": ("2", "4", "4"), "run": ("2", "8", "8")})

    def test_pipeline_refuses_a_wrong_key(self):
        done = subprocess.run([PIPELINE, self.config, "--dry-run", "--set", "run.nowhere=1"], capture_output=True, text=True, env={**os.environ, "SYNCDR_BIN": str(BIN)})
        expect(done, 2, 'unknown key "run.nowhere"')
        self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    unittest.main()
