#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.15.0; orjson 3.11.4 as a reader that keeps to RFC 8259. Seen on 2026-11-29.
# Expected: scheduler_config.json, which save_pretrained writes, is JSON: any parser reads it.
# Happens: DPMSolverMultistep (its inverse too), DPMSolverSinglestep and SASolver write "lambda_min_clipped": -Infinity, by default. That is no JSON: strict readers refuse the
#   whole file. A tool that reads it leniently and writes JSON again makes it null, which from_pretrained takes and set_timesteps does not.
# Matters: tools in C++, Rust, Go or JavaScript fail on checkpoints with one of the most used schedulers, with a message about syntax. Read -Infinity leniently or remove the key.
# Source: diffusers/configuration_utils.py, ConfigMixin.to_json_string: json.dumps without allow_nan=False; scheduling_dpmsolver_multistep.py, lambda_min_clipped.
. "$(dirname "$0")/common.sh"
python_packages orjson==3.11.4
cat > "$tmp/strict.py" <<'E'
import orjson, sys
for path in sys.argv[1:]:
    try: answer = f"{len(orjson.loads(open(path).read()))} fields"
    except orjson.JSONDecodeError as error: answer = f"refused: {error}"
    print(f"{path}: {answer}")
E
strict=$(command -v python)
python_packages diffusers==0.42.1 transformers==5.24.0 torch==2.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$tmp/program.py" <<'E'
import diffusers, json
kinds = "DDIM", "EulerDiscrete", "UniPCMultistep", "DPMSolverMultistep", "DPMSolverMultistepInverse", "DPMSolverSinglestep", "SASolver"
for kind in kinds: getattr(diffusers, kind + "Scheduler")().save_pretrained(kind)
text = open("DPMSolverMultistep/scheduler_config.json").read()
print("DPMSolverMultistep:", next(line.strip() for line in text.splitlines() if "Infinity" in line))
def steps(value):
    config = json.loads(text)
    if value == "removed": del config["lambda_min_clipped"]
    else: config["lambda_min_clipped"] = value
    json.dump(config, open("scheduler_config.json", "w"))
    scheduler = diffusers.DPMSolverMultistepScheduler.from_pretrained(".")
    try: scheduler.set_timesteps(20); answer = f"{len(scheduler.timesteps)} steps"
    except TypeError: answer = "TypeError in set_timesteps"
    print(f"lambda_min_clipped {value}: {answer}")
for value in float("-inf"), None, "removed": steps(value)
E
cd "$tmp"
observe python program.py
observe "$strict" strict.py */scheduler_config.json
verdict <<'E'
DPMSolverMultistep: "lambda_min_clipped": -Infinity,
lambda_min_clipped -inf: 20 steps
lambda_min_clipped None: TypeError in set_timesteps
lambda_min_clipped removed: 20 steps
DDIM/scheduler_config.json: 17 fields
DPMSolverMultistep/scheduler_config.json: refused: no digit after minus sign: line 12 column 26 (char 335)
DPMSolverMultistepInverse/scheduler_config.json: refused: no digit after minus sign: line 11 column 26 (char 311)
DPMSolverSinglestep/scheduler_config.json: refused: no digit after minus sign: line 11 column 26 (char 309)
EulerDiscrete/scheduler_config.json: 19 fields
SASolver/scheduler_config.json: refused: no digit after minus sign: line 11 column 26 (char 295)
UniPCMultistep/scheduler_config.json: 31 fields
E
