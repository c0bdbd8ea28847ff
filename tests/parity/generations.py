"""The two generations of originals: a function of a module originals_*.py, called in this Python or in the one that has the next generation."""
import importlib
import json
import os
import pathlib
import subprocess
import sys


def call(module, function, arguments):
    """Arguments and result through JSON in both, so that both see the same."""
    return json.loads(json.dumps(getattr(importlib.import_module(module), function)(**json.loads(json.dumps(arguments, default=str)))))


def this_generation(module, function, **arguments):
    return call(module, function, arguments)


def next_generation(module, function, **arguments):
    python = os.environ.get("SYNCDR_PYTHON_NEXT")
    if not python:
        raise RuntimeError("SYNCDR_PYTHON_NEXT is not set: it names a Python with the newer originals. `launch/setup.sh --tests` makes one, ctest sets it")
    done = subprocess.run([python, __file__, module, function], input=json.dumps(arguments, default=str), stdout=subprocess.PIPE, text=True, timeout=280)
    if done.returncode != 0:
        raise RuntimeError(f"{module}.{function} under {python} ended with {done.returncode}; above is what it said")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    print(json.dumps(call(sys.argv[1], sys.argv[2], json.load(sys.stdin))))
