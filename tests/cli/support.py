"""What the command-line tests share: running programs, small pictures, a small dataset and configuration."""
import hashlib
import os
import pathlib
import struct
import subprocess
import zlib

BIN = pathlib.Path(os.environ["SYNCDR_BIN"])
MPIRUN = os.environ["SYNCDR_MPIRUN"]

# A run of seconds: tiny pictures, tiny networks, few steps.
SMALL = """
[run]
arms = ["cds", "filter", "cut", "true"]
[fit.cut]
steps = 6
batch = 4
patches = 16
sample_every = 3
checkpoint_every = 3
generator = { width = 4, blocks = 1, nce_layers = [0, 4, 8] }
discriminator = { width = 4, layers = 2 }
augment = { resize = 36, crop = 32 }
[translate]
size = 32
batch = 4
unit_rows = 16
[train]
epochs = 2
batch = 8
encoder = { name = "small", dim = 16 }
augment = { resize = 32, crop = 32 }
[evaluate]
resamples = 100
tsne_points = 24
"""
# The same of a diffusion model; texts for its prompt file.
DIFFUSION = """
[fit.diffusion]
prompts = ["a photo", "a sketch"]
steps = 4
batch = 4
unet = { channels = [8, 16], head_width = 8, norm_groups = 4 }
text = { width = 16, layers = 1, heads = 2, length = 16 }
augment = { resize = 32, crop = 32 }
sample_every = 2
checkpoint_every = 2
[fit.diffusion.autoencoder]
steps = 4
batch = 4
channels = [8, 16]
latent_channels = 4
norm_groups = 4
augment = { resize = 32, crop = 32 }
"""
# Of tokens for that model.
TOKENS = """
[fit.textual_inversion]
initial = ["p", "s"]
vectors = 2
templates = ["a {}", "{}"]
steps = 4
batch = 4
augment = { resize = 32, crop = 32 }
sample_every = 2
checkpoint_every = 2
log_every = 1
"""
PROMPTS = '[photo]\ndescription = "a photo"\n[sketch]\ndescription = "a sketch"\n'


def run(*command, ranks=None, env=None, timeout=240):
    """Runs a program of ours, on several ranks where asked; returns the finished process with its output as text."""
    command = [str(part) for part in command]
    command[0] = str(BIN / command[0])
    if ranks:
        command = [MPIRUN, "-np", str(ranks)] + command
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})})


def ranks_of(process):
    """Process ids of the ranks of a job that launch/mpirun.sh started: children of mpirun (5.0: prterun), which is a child of the script."""
    def children(pid, *more):
        return subprocess.run(["pgrep", "-P", str(pid), *more], capture_output=True, text=True).stdout.split()

    return [rank for mpirun in children(process.pid, "-x", "mpirun|prterun") for rank in children(mpirun)]


def expect(process, code, *texts):
    """The process ended with this exit code and said each of these texts."""
    said = process.stdout + process.stderr
    assert process.returncode == code, f"exit code {process.returncode} instead of {code}:\n{said}"
    for text in texts:
        assert text in said, f"{text!r} was not said:\n{said}"


def bytes_of(folder):
    """Name and content hash of every translated unit."""
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.rglob("unit-*.h5"))}


def png(width, height, pixel):
    """A PNG of pixel(x, y) -> (r, g, b)."""
    rows = b"".join(b"\0" + bytes(value for x in range(width) for value in pixel(x, y)) for y in range(height))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write_pictures(folder, categories=12, images=6, size=32, domains=("photo", "sketch")):
    """Domains of striped pictures, FOLDER/DOMAIN/CATEGORY/IMAGE.png: a category is a direction and a width of stripes. The pixel in the middle tells equal ones apart."""
    for domain, dark in zip(domains, ((200, 60, 20), (0, 0, 0), (30, 90, 200))):
        for category in range(categories):
            for image in range(images):
                place = folder / domain / f"category-{category:02}" / f"{image}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                dx, dy, width = 1 + category % 4, category // 4, 3 + category % 3
                own = (40 * image % 256, 20 * category % 256, dark[0])
                place.write_bytes(png(size, size, lambda x, y: own if x == y == size // 2 else dark if ((x * dx + y * dy + image) // width) % 2 else (250, 250, 250)))
