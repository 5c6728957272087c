"""Runs Optuna's samplers on one recorded table and prints what they evaluated.

Argument: a JSON file with the table. Parameters are rank-encoded integers. Rows
count once, failed ones included; configurations outside the table and repeats
cost nothing. After 20 wasted asks in a row an unseen row is drawn at random.
The Gaussian process is told logarithms, where all values are positive, and the
worst value so far for what failed: it learns nothing from trials without one.
"""
import json, math, random, sys, time, warnings

import optuna

warnings.simplefilter("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)
job = json.load(open(sys.argv[1]))
names = [p["name"] for p in job["parameters"]]
sizes = [len(p["values"]) for p in job["parameters"]]
rows = {tuple(r["ranks"]): (i, r["values"]) for i, r in enumerate(job["rows"])}
distributions = {n: optuna.distributions.IntDistribution(0, s - 1) for n, s in zip(names, sizes)}


def sampler(method, seed):
    if method == "TPE":
        return optuna.samplers.TPESampler(multivariate=True, seed=seed)
    if method == "GP":
        return optuna.samplers.GPSampler(seed=seed)
    if method == "NSGAII":
        return optuna.samplers.NSGAIISampler(population_size=20, seed=seed)
    raise ValueError("no sampler of Optuna is known as " + method)


single = len(job["directions"]) == 1
logarithms = single and all(r["values"] is None or r["values"][0] > 0 for r in job["rows"])


def believed(study, values):
    """What the Gaussian process is told of a trial."""
    if values is not None:
        return [math.log(values[0])] if logarithms else values
    known = [t.value for t in study.get_trials(deepcopy=False) if t.state == optuna.trial.TrialState.COMPLETE] if single else []
    return [(max if job["directions"][0] == "minimize" else min)(known)] if known else None


def tell(study, trial, values):
    if job["method"] == "GP":
        values = believed(study, values)
    if values is None:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED if single else optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, values)


def run(method, seed):
    study = optuna.create_study(sampler=sampler(method, seed), directions=job["directions"])
    rng = random.Random(seed)
    seen, order, asks = set(), [], []
    violations = repeats = wasted = 0
    for _ in range(12 * job["budget"]):
        if len(order) >= min(job["budget"], len(rows)):
            break
        begin = time.perf_counter()
        trial = study.ask(distributions)
        asks.append(1000 * (time.perf_counter() - begin))
        key = tuple(trial.params[n] for n in names)
        if key in rows and key not in seen:
            seen.add(key)
            order.append(rows[key][0])
            wasted = 0
            tell(study, trial, rows[key][1])
            continue
        tell(study, trial, rows[key][1] if key in rows else None)
        repeats, violations, wasted = repeats + (key in rows), violations + (key not in rows), wasted + 1
        if wasted >= 20:
            wasted = 0
            key = rng.choice([k for k in rows if k not in seen])
            seen.add(key)
            order.append(rows[key][0])
            study.enqueue_trial(dict(zip(names, key)))
            tell(study, study.ask(distributions), rows[key][1])
    return {"rows": order, "asks": asks, "violations": violations, "repeats": repeats}


if job["method"] == "GP":
    try:
        import torch  # noqa: F401  the Gaussian process needs it
    except ImportError:
        sys.exit("needs torch: --peers optuna:GP installs it")
print(json.dumps({"version": optuna.__version__, "courses": [run(job["method"], seed) for seed in range(job["seeds"])]}))
