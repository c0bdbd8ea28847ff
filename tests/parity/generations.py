"""The two generations of originals: a function of a module originals_*.py, called in this Python or in the one that has the next generation."""
import functools
import importlib
import json
import os
import pathlib
import subprocess
import sys
import traceback


def call(module, function, arguments):
    """Arguments and result through JSON in both, so that both see the same."""
    return json.loads(json.dumps(getattr(importlib.import_module(module), function)(**json.loads(json.dumps(arguments, default=str)))))


def this_generation(module, function, **arguments):
    return call(module, function, arguments)


def is_next():
    """Whether this is the Python that has the next generation."""
    return os.path.normpath(sys.prefix) == str(pathlib.Path(os.environ.get("SYNCDR_PYTHON_NEXT", "/none/bin/python")).parent.parent)


@functools.cache
def next_python():
    """One process for all calls, which ends with this one: its start takes longer than most calls."""
    python = os.environ.get("SYNCDR_PYTHON_NEXT")
    if not python:
        raise RuntimeError("SYNCDR_PYTHON_NEXT is not set: it names a Python with the newer originals. `launch/setup.sh --tests` makes one, ctest sets it")
    return subprocess.Popen([python, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def next_generation(module, function, **arguments):
    process = next_python()
    print(json.dumps([module, function, arguments], default=str), file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"{module}.{function} under {process.args[0]}: the process ended with {process.wait()}; above is what it said")
    result, error = json.loads(answer)
    if error:
        raise RuntimeError(f"{module}.{function} under {process.args[0]}: {error}")
    return result


def answer_calls():
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the originals print is no answer
    for line in sys.stdin:
        try:
            answer = [call(*json.loads(line)), None]
        except Exception:
            answer = [None, traceback.format_exc()]
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    answer_calls()
