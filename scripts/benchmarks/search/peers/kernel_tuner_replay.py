"""Runs a strategy of Kernel Tuner on one recorded table and prints what it evaluated.

Argument: a JSON file with the table. It becomes a cache that Kernel Tuner
simulates from, its rows the configurations that the restrictions allow. Rows
count once, failed ones included; repeats cost nothing.
"""
import contextlib, importlib.metadata, io, json, os, sys, tempfile, time, warnings

import numpy

warnings.simplefilter("ignore")
import kernel_tuner

job = json.load(open(sys.argv[1]))
names = ["p%d" % i for i in range(len(job["parameters"]))]
params = {n: list(range(len(p["values"]))) for n, p in zip(names, job["parameters"])}
metrics = ["m%d" % i for i in range(len(job["directions"]))]
position = {tuple(r["ranks"]): i for i, r in enumerate(job["rows"])}
entries = {}
for r in job["rows"]:
    e = dict(zip(names, r["ranks"]), compile_time=0, verification_time=0, benchmark_time=0)
    e.update(zip(metrics, r["values"] or ["RuntimeFailedConfig"] * len(metrics)))
    if r["values"] is None:
        e["__error__"] = "RuntimeFailedConfig"
    entries[",".join(map(str, r["ranks"]))] = e
cache = os.path.join(tempfile.mkdtemp(), "cache.json")
with open(cache, "w") as f:
    json.dump({"device_name": "table", "kernel_name": "table", "problem_size": [1], "tune_params_keys": names, "tune_params": params,
               "objective": metrics[0], "cache": entries}, f, indent="")
better = [d == "maximize" for d in job["directions"]]
objective = dict(objective=metrics[0], objective_higher_is_better=better[0])
if len(metrics) > 1:
    objective = dict(objectives=dict(zip(metrics, better)))


def run(seed):
    begin = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        results, _ = kernel_tuner.tune_kernel(
            "table", "__global__ void table(float *a) {}", 1, [numpy.zeros(1, dtype=numpy.float32)], params,
            restrictions=lambda p: tuple(p[n] for n in names) in position, strategy=job["method"],
            strategy_options={"max_fevals": min(job["budget"], len(position))}, cache=cache, simulation_mode=True, lang="CUDA", quiet=True,
            seed=seed, **objective)
    spent = 1000 * (time.perf_counter() - begin)
    order, seen, repeats = [], set(), 0
    for r in results:
        i = position[tuple(r[n] for n in names)]
        if i in seen:
            repeats += 1
        elif len(order) < job["budget"]:
            seen.add(i)
            order.append(i)
    return {"rows": order, "asks": [spent / max(len(order), 1)], "violations": 0, "repeats": repeats}


print(json.dumps({"version": importlib.metadata.version("kernel_tuner"), "courses": [run(seed) for seed in range(job["seeds"])]}))
