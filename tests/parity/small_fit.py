"""Small pictures of two domains, packed, and `syncdr fit` on them: seconds each."""
import os
import pathlib
import subprocess

from PIL import Image

BIN = pathlib.Path(os.environ["SYNCDR_BIN"])
SIDE = 16
CONFIG = f"""
[data]
root = "DATA"
domains = ["warm", "cold"]
[run]
out = "RUN"
[fit.diffusion]
prompts = ["a warm picture", "a cold picture"]
steps = 20
batch = 8
dtype = "fp32"
unet = {{ channels = [8, 16], head_width = 8, norm_groups = 4 }}
text = {{ width = 16, layers = 2, heads = 2, length = 20 }}
augment = {{ resize = 18, crop = {SIDE} }}
[fit.diffusion.autoencoder]
steps = 20
batch = 4
channels = [8, 16]
latent_channels = 3
norm_groups = 4
augment = {{ resize = 18, crop = {SIDE} }}
"""


def run(program, *arguments):
    subprocess.run([BIN / program, *map(str, arguments)], check=True, timeout=240, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})


def write_pictures(folder):
    """A ramp of its own for each picture, the colours of its domain."""
    for domain in ("cold", "warm"):
        for k in range(12):
            path = folder / domain / "things" / f"{k:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.linear_gradient("L").rotate(30 * k).resize((SIDE + 4, SIDE + 4))
            flat = picture.point(lambda value: 40 + value // 4)
            Image.merge("RGB", (picture, flat, flat) if domain == "warm" else (flat, flat, picture)).save(path)


class Workshop:
    """A folder with a dataset, data, and the runs that are made of it."""

    def __init__(self, folder):
        self.folder = folder
        write_pictures(folder / "pictures")
        run("syncdr-data", "pack", folder / "pictures", "-o", folder / "data", "--no-disjoint", "--val", "0", "--test", "0")

    def fit(self, what, name="run", more="", **settings):
        """Runs `syncdr fit WHAT`; returns its folder."""
        config = self.folder / f"{name}.toml"
        config.write_text(CONFIG.replace("DATA", str(self.folder / "data")).replace("RUN", str(self.folder / name)) + more)
        run("syncdr", "fit", what, config, *(part for key, value in settings.items() for part in ("--set", f"{key.replace('__', '.')}={value}")))
        return self.folder / name / "fit" / what
