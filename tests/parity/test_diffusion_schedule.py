"""Schedulers against diffusers: timesteps exactly, whole trajectories of fixed network outputs to 1e-5 at every step, training noise."""
import inspect
import json
import math
import os

import diffusers
import torch
from diffusers.schedulers import scheduling_euler_ancestral_discrete, scheduling_lcm, scheduling_tcd

from probe import FAILURES, FOLDER, probe

TOLERANCE = 1e-5
SHAPE = (2, 4, 3, 5)
STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ALL = ["epsilon", "v_prediction", "sample"]
PREDICTIONS = {"DDIMScheduler": ALL, "DDIMInverseScheduler": ALL, "PNDMScheduler": ALL[:2], "LMSDiscreteScheduler": ALL,
               "EulerDiscreteScheduler": ALL, "EulerAncestralDiscreteScheduler": ALL[:2], "DPMSolverMultistepScheduler": ALL, "UniPCMultistepScheduler": ALL,
               "DEISMultistepScheduler": ALL, "HeunDiscreteScheduler": ALL, "LCMScheduler": ALL, "TCDScheduler": ALL}
WITH_ZERO_SNR = [name for name in PREDICTIONS
                 if name not in ("PNDMScheduler", "LMSDiscreteScheduler", "DEISMultistepScheduler", "HeunDiscreteScheduler")]
# Distilled models' samplers: their grid is of the 50 steps of the distillation.
DISTILLED = ("LCMScheduler", "TCDScheduler")
# Training in the original looks the time up in a list of sigmas that is in the other order.
OTHER_ORDER = ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler")
# Other classes' configurations: of the first four, of which there is none here, and of some that are here. DPMSolverSDE needs a package of its own in diffusers; its fields are KDPM2's and one more.
RELATIVES = ["DDPM", "DPMSolverSinglestep", "KDPM2Discrete", "KDPM2AncestralDiscrete", "DEISMultistep", "HeunDiscrete", "UniPCMultistep"]
# The file of Stable Diffusion 1.5 as it is downloaded: it leaves the spacing to the class.
PUBLISHED = {"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", **STABLE, "num_train_timesteps": 1000, "set_alpha_to_one": False,
             "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None, "clip_sample": False}
WORST = {}


class Cases:
    """Configurations, each written by diffusers once; a case is one of them with a number of steps and a strength."""

    def __init__(self):
        self.folders, self.cases = {}, []

    def add(self, cls, config, steps, strength=1.0, eta=0.0, swap="", below=1.0):
        key = (cls, json.dumps(config, sort_keys=True))
        if key not in self.folders:
            self.folders[key] = str(len(self.folders))
            getattr(diffusers, cls)(**config).save_pretrained(os.path.join(FOLDER, self.folders[key]))
        self.cases.append({"cls": cls, "config": config, "folder": self.folders[key], "name": swap, "steps": steps, "strength": strength,
                           "eta": eta, "below": below})

    def add_file(self, fields, steps, swap, strength=1.0):
        """A configuration that is not written by this diffusers."""
        folder = str(len(self.folders))
        self.folders["file", json.dumps(fields), folder] = folder
        os.mkdir(os.path.join(FOLDER, folder))
        with open(os.path.join(FOLDER, folder, "scheduler_config.json"), "w") as file:
            json.dump(fields, file)
        self.cases.append({"cls": fields["_class_name"], "config": fields, "folder": folder, "name": swap, "steps": steps, "strength": strength, "eta": 0.0,
                           "below": 1.0})


def relatives(cases):
    """Every sampler made of the configuration of every other class."""
    for relative in (name + "Scheduler" for name in RELATIVES):
        takes = inspect.signature(getattr(diffusers, relative)).parameters
        for cls in PREDICTIONS:
            # Of this class's default, lower_order_final false, UniPC makes NaN, and ours refuses it.
            final = {"final_sigmas_type": "sigma_min"} if (relative, cls) == ("DPMSolverSinglestepScheduler", "UniPCMultistepScheduler") else {}
            cases.add(relative, {**STABLE, **final, **({"steps_offset": 1, "timestep_spacing": "leading"} if "steps_offset" in takes else {})}, 10, swap=cls)
            if "timestep_spacing" in takes:
                config = {**STABLE, **final, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
                for more in ({}, {"use_karras_sigmas": True}, {"rescale_betas_zero_snr": True}):
                    if set(more) <= set(takes):
                        # The inverse has no start in the middle, and PNDM none by its class's defaults.
                        cases.add(relative, {**config, **more}, 10, 1.0 if cls in ("DDIMInverseScheduler", "PNDMScheduler") else 0.5, swap=cls)
    for cls in PREDICTIONS:
        fields = {"_class_name": "DPMSolverSDEScheduler", **STABLE, "prediction_type": "epsilon", "timestep_spacing": "leading", "steps_offset": 0,
                  "noise_sampler_seed": 3, "use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False, "trained_betas": None}
        cases.add_file(fields, 10, cls)
        cases.add_file({**fields, "_class_name": "DEISMultistepScheduler", "algorithm_type": "deis", "solver_type": "logrho", "lambda_min_clipped": -math.inf,
                        "clip_sample": False}, 10, cls)


def few_steps(cases):
    for cls in DISTILLED:
        for steps in (1, 2, 4, 7, 8):
            for strength in (0.3, 0.5, 0.99):
                if int(steps * strength) > 0:
                    cases.add(cls, STABLE, steps, strength, eta=0.3 * (cls == "TCDScheduler"))
                cases.add(cls, STABLE, steps, below=strength)
        for config in ({"original_inference_steps": 100}, {"original_inference_steps": 40, "num_train_timesteps": 1000}, {"steps_offset": 1},
                       {"clip_sample": True, "clip_sample_range": 0.7}, {"timestep_scaling": 3.0}, {"set_alpha_to_one": False}):
            cases.add(cls, {**STABLE, **config}, 6)
            cases.add(cls, {**STABLE, **config}, 6, below=0.7)
    for eta in (0.0, 0.1, 0.3, 0.5, 0.77, 1.0):
        for steps in (1, 4, 13):
            cases.add("TCDScheduler", STABLE, steps, eta=eta)
        cases.add("TCDScheduler", {**STABLE, "prediction_type": "v_prediction"}, 6, 0.5, eta=eta)
    for cls in ("EulerDiscreteScheduler", "DDIMScheduler"):  # as SD-Turbo's and Hyper-SD's
        for steps in (1, 2, 4, 8):
            for strength in (0.5, 1.0):
                if int(steps * strength) > 0:
                    cases.add(cls, {**STABLE, **({"clip_sample": False} if cls == "DDIMScheduler" else {}), "timestep_spacing": "trailing", "steps_offset": 1},
                              steps, strength)


def unipc_deis_heun(cases):
    both = ("UniPCMultistepScheduler", "DEISMultistepScheduler")
    for cls in (*both, "HeunDiscreteScheduler"):
        for spread in ("use_karras_sigmas", "use_exponential_sigmas"):
            for steps in (2, 5, 20):
                cases.add(cls, {**STABLE, spread: True}, steps)
                cases.add(cls, {**STABLE, spread: True, "timestep_spacing": "leading"}, steps)
            cases.add(cls, {**STABLE, spread: True}, 20, 0.5)
            cases.add(cls, {**STABLE, spread: True, "beta_schedule": "squaredcos_cap_v2"}, 10)
    for order in (1, 2, 3):
        for final in (True, False):
            for steps in (1, 3, 5, 14, 20, 50):
                for strength in (0.3, 1.0):
                    if int(steps * strength) > 0:
                        cases.add("DEISMultistepScheduler", {**STABLE, "solver_order": order, "lower_order_final": final}, steps, strength)
                        # Ending at 0, the original makes NaN where the last step is not of the first order.
                        cases.add("UniPCMultistepScheduler", {**STABLE, "solver_order": order, "lower_order_final": final,
                                                              "final_sigmas_type": "zero" if final else "sigma_min"}, steps, strength)
        for solver in ("bh1", "bh2"):
            for clean in (True, False):
                for prediction in ALL:
                    config = {**STABLE, "solver_order": order, "solver_type": solver, "predict_x0": clean, "prediction_type": prediction,
                              "final_sigmas_type": "sigma_min"}
                    for steps, strength in ((4, 1.0), (8, 0.5), (25, 0.3)):
                        cases.add("UniPCMultistepScheduler", config, steps, strength)
        cases.add("UniPCMultistepScheduler", {**STABLE, "solver_order": order, "disable_corrector": [0, 2, 3]}, 10)
        cases.add("UniPCMultistepScheduler", {**STABLE, "solver_order": order, "use_karras_sigmas": True, "final_sigmas_type": "sigma_min"}, 10)
    for solver in ("midpoint", "heun", "logrho"):
        cases.add("UniPCMultistepScheduler", {**STABLE, "solver_type": solver}, 10)
    for solver in ("midpoint", "heun", "bh1", "bh2"):
        cases.add("DEISMultistepScheduler", {**STABLE, "solver_type": solver, "algorithm_type": "dpmsolver++"}, 10)
    if "sigma_min" in inspect.signature(diffusers.UniPCMultistepScheduler).parameters:
        for spread in ("use_karras_sigmas", "use_exponential_sigmas"):
            cases.add("UniPCMultistepScheduler", {**STABLE, spread: True, "sigma_min": 0.1, "sigma_max": 10.0}, 10)
    cases.add("HeunDiscreteScheduler", {**STABLE, "clip_sample": True, "clip_sample_range": 0.7}, 10)


def all_cases():
    cases = Cases()
    for cls, predictions in PREDICTIONS.items():
        pndm = {"skip_prk_steps": True} if cls == "PNDMScheduler" else {}
        latent = {"clip_sample": False} if cls.startswith("DDIM") else {}
        spacings = ["leading", "trailing", "linspace"][:1 if cls in DISTILLED else 2 if cls == "DDIMInverseScheduler" else 3]
        for prediction in predictions:
            if cls == "DDIMInverseScheduler" and prediction == "sample":
                latent["set_alpha_to_one"] = False  # else it divides by a noise of 0
            for spacing in spacings:
                config = {**STABLE, **pndm, **latent, "prediction_type": prediction, "timestep_spacing": spacing}
                offset = {"steps_offset": 1} if spacing == "leading" else {}
                for steps in (1, 2, 5, 20, 50):
                    cases.add(cls, {**config, **offset}, steps)
                if cls not in DISTILLED:
                    cases.add(cls, config, 999)
                if cls != "DDIMInverseScheduler":
                    for strength in (0.3, 0.5, 0.99):
                        cases.add(cls, {**config, **offset}, 50, strength)
                        cases.add(cls, {**config, **offset}, 7, strength)
        # Other training schedules, at the class's own defaults.
        betas = [0.001 + 0.0001 * i for i in range(120)]
        for other in ({}, {"beta_schedule": "squaredcos_cap_v2"}, {"trained_betas": betas, "num_train_timesteps": 120},
                      {"num_train_timesteps": 400}):
            cases.add(cls, {**pndm, **other}, 10)
        if cls in WITH_ZERO_SNR:
            for spacing in spacings:
                cases.add(cls, {**STABLE, **latent, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction",
                                "timestep_spacing": spacing}, 10)
    for config in ({"clip_sample_range": 0.7}, {"set_alpha_to_one": False, "clip_sample": False},
                   {"set_alpha_to_one": False, "steps_offset": 1}):
        cases.add("DDIMScheduler", {**STABLE, **config}, 20)
        cases.add("DDIMInverseScheduler", {**STABLE, **config}, 20)
        cases.add("DDIMScheduler", {**STABLE, **config}, 20, eta=1.0)
        cases.add("DDIMScheduler", {**STABLE, **config}, 20, 0.5, eta=0.3)
    for prediction in ALL[:2]:
        for steps in (4, 5, 20, 50):
            cases.add("PNDMScheduler", {**STABLE, "prediction_type": prediction, "skip_prk_steps": False, "steps_offset": 1}, steps)
        cases.add("PNDMScheduler", {**STABLE, "prediction_type": prediction, "skip_prk_steps": True, "set_alpha_to_one": True}, 20)
    for cls in ("LMSDiscreteScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"):
        for spread in ("use_karras_sigmas", "use_exponential_sigmas"):
            for steps in (1, 2, 5, 20):
                cases.add(cls, {**STABLE, spread: True}, steps)
                cases.add(cls, {**STABLE, spread: True, "timestep_spacing": "leading"}, steps)
            cases.add(cls, {**STABLE, spread: True}, 20, 0.5)
    for config in ({"final_sigmas_type": "sigma_min"}, {"interpolation_type": "log_linear"},
                   {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 10.0},
                   {"use_karras_sigmas": True, "final_sigmas_type": "sigma_min"}):
        cases.add("EulerDiscreteScheduler", {**STABLE, **config}, 10)
    for config in ({"final_sigmas_type": "sigma_min"}, {"final_sigmas_type": "sigma_min", "lower_order_final": False}, {"solver_order": 1},
                   {"final_sigmas_type": "sigma_min", "euler_at_final": True, "lower_order_final": False},
                   {"lambda_min_clipped": -5.1, "beta_schedule": "squaredcos_cap_v2"}, {"solver_type": "bh2"}):
        for steps in (10, 20):
            for spacing in ("linspace", "leading", "trailing"):
                cases.add("DPMSolverMultistepScheduler", {**STABLE, **config, "timestep_spacing": spacing}, steps)
    few_steps(cases)
    unipc_deis_heun(cases)
    # Another class from a configuration as Stable Diffusion's, which is PNDM's.
    for cls in PREDICTIONS:
        cases.add("PNDMScheduler", {**STABLE, "skip_prk_steps": True, "steps_offset": 1}, 10, swap=cls)
        if cls != "DDIMInverseScheduler":
            cases.add("DDIMScheduler", {**STABLE, "clip_sample": False, "steps_offset": 1, "timestep_spacing": "trailing"}, 10, swap=cls)
        if cls != "DDIMInverseScheduler":
            for strength in (1.0, 0.3):
                cases.add_file(PUBLISHED, 50, cls, strength)
    relatives(cases)
    return cases.cases


def theirs(case, given):
    """What diffusers computes; the noise of step i is the i-th given."""
    folder = os.path.join(FOLDER, case["folder"])
    if case["cls"] == "DPMSolverSDEScheduler":
        scheduler = getattr(diffusers, case["name"]).from_pretrained(folder)
    else:
        scheduler = getattr(diffusers, case["cls"]).from_pretrained(folder)
        if case["name"]:
            # The original takes DEIS's algorithm for its own, but only after it has refused it.
            more = {"algorithm_type": "dpmsolver++"} if (case["cls"], case["name"]) == ("DEISMultistepScheduler", "DPMSolverMultistepScheduler") else {}
            scheduler = getattr(diffusers, case["name"]).from_config(scheduler.config, **more)
    name = type(scheduler).__name__
    full = getattr(diffusers, name).from_config(scheduler.config)  # before set_timesteps: training
    scheduler.set_timesteps(case["steps"], **({"strength": case["below"]} if case["below"] < 1 else {}))
    if name == "DEISMultistepScheduler" and case["steps"] > 20:
        # Its coefficients are differences of close float32 numbers: of order 3, 1e-4 of the sample is rounding at 50 steps, more than a tenth at 999. Ours are in float64.
        scheduler.sigmas = scheduler.sigmas.double()
    start = max(case["steps"] - min(int(case["steps"] * case["strength"]), case["steps"]), 0) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(start)
    times = scheduler.timesteps[start:]
    if start == 0:
        sample = given["sample"] * scheduler.init_noise_sigma
    else:
        sample = scheduler.add_noise(given["original"], given["sample"], times[:1].repeat(SHAPE[0]))
    samples, inputs = [sample], []
    for i, time in enumerate(times, start):
        inputs.append(scheduler.scale_model_input(sample, time))
        noise = given["noises"][i % len(given["noises"])]
        for module in (scheduling_euler_ancestral_discrete, scheduling_lcm, scheduling_tcd):
            module.randn_tensor = lambda *_, **__: noise
        extra = {"eta": case["eta"], "variance_noise": noise if case["eta"] else None} if name == "DDIMScheduler" else {}
        if name == "TCDScheduler":
            extra["eta"] = case["eta"]
        sample = scheduler.step(given["outputs"][i % len(given["outputs"])], time, sample, return_dict=False, **extra)[0]
        samples.append(sample)
    result = {"timesteps": times.double(), "samples": torch.stack(samples), "inputs": torch.stack(inputs)}
    # In training the original looks the time up in its list, which must hold them all.
    last = full.config.num_train_timesteps - 1
    complete = full.timesteps is None or torch.equal(full.timesteps.double().sort().values, torch.arange(last + 1).double())
    if complete and name not in ("DDIMInverseScheduler", *OTHER_ORDER):
        result["added"] = full.add_noise(given["originals"], given["noise"], given["times"].clamp(max=last))
    if name == "DDIMScheduler":
        result["velocity"] = full.get_velocity(given["originals"], given["noise"], given["times"].clamp(max=last))
    return result


def error_of(ours, original):
    """The largest over steps of the relative error of one step's tensor."""
    ours, original = ours.double().flatten(1), original.double().flatten(1)
    return float(((ours - original).norm(dim=1) / original.norm(dim=1).clamp_min(1e-30)).max())


def fail(case, what):
    FAILURES.append(what)
    print(f"FAIL {what}: {({key: case[key] for key in ('cls', 'config', 'name', 'steps', 'strength', 'eta', 'below')})}")


def compare(case, ours, original):
    name = case["name"] or case["cls"]
    if not torch.isfinite(original["samples"]).all():
        return fail(case, "the original is not finite")
    by_sigma = case["config"].get("use_karras_sigmas") or case["config"].get("use_exponential_sigmas")
    if ours["timesteps"].shape != original["timesteps"].shape:
        return fail(case, f"{len(ours['timesteps'])} timesteps for {len(original['timesteps'])}")
    # Times found from sigmas go through NumPy's float32 logarithm, whose last bit depends on the processor.
    allowed = 1e-4 if by_sigma else 0
    off = float((ours["timesteps"] - original["timesteps"]).abs().max())
    if off > allowed:
        fail(case, f"timesteps are off by {off}")
    for key in ("samples", "inputs", "added", "velocity"):
        if key in original:
            error = error_of(ours[key], original[key])
            WORST[name, key] = max(WORST.get((name, key), 0.0), error)
            if not error <= TOLERANCE:
                fail(case, f"{key} {error:.1e}")
    WORST[name, "timesteps"] = max(WORST.get((name, "timesteps"), 0.0), off)


def run(cases, given):
    lists = {"folders": "folder", "names": "name", "steps": "steps", "strengths": "strength", "etas": "eta", "belows": "below"}
    results = [{} for _ in cases]
    for name, tensor in probe("schedule", given, FOLDER, **{key: [case[field] for case in cases] for key, field in lists.items()}).items():
        index, key = name.split(".", 1)
        results[int(index)][key] = tensor
    for case, ours in zip(cases, results):
        original = theirs(case, given)
        if "refused" in ours:
            fail(case, "refused")
        else:
            compare(case, ours, original)


print(f"diffusers {diffusers.__version__}")
torch.manual_seed(1)
torch.set_num_threads(1)
given = {"sample": torch.randn(SHAPE), "outputs": torch.randn(64, *SHAPE), "noises": torch.randn(64, *SHAPE),
         "original": torch.randn(SHAPE), "originals": torch.randn(5, *SHAPE[1:]), "noise": torch.randn(5, *SHAPE[1:]),
         "times": torch.tensor([0, 1, 119, 500, 999])}
diffusers.utils.logging.set_verbosity_error()
cases = all_cases()
for begin in range(0, len(cases), 100):
    run(cases[begin:begin + 100], given)
for (name, key), error in sorted(WORST.items()):
    print(f"{name} {key}: {error:.1e}")
print(f"{len(cases)} trajectories")
if FAILURES:
    raise SystemExit(f"{len(FAILURES)} comparisons failed")
