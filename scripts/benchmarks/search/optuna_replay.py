"""Runs Optuna's samplers on one recorded table and prints a JSON list.

Arguments: index.json, table, seeds, budget. Parameters are rank-encoded
integers. Every unique configuration that meets the constraints counts, failed
runs included; configurations outside the table and repeats cost nothing. After
20 wasted asks in a row an unseen configuration is drawn at random.
"""
import csv, gzip, json, os, random, statistics, sys, time
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
index, name, seeds, budget = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
table = next(t for t in json.load(open(index)) if t["name"] == name)
names = [p["name"] for p in table["params"]]
values = {p["name"]: p["values"] for p in table["params"]}
rank = {n: {str(float(v)) if not isinstance(v, str) else v: i for i, v in enumerate(values[n])} for n in names}


def code(n, text):
    try:
        return rank[n][str(float(text))]
    except (ValueError, KeyError):
        return rank[n][text]


rows = {}
with gzip.open(os.path.join(os.path.dirname(index), table["file"]), "rt") as f:
    for r in csv.DictReader(f):
        key = tuple(code(n, r[n]) for n in names)
        rows[key] = float(r["time_ms"]) if r.get("status", "ok") == "ok" and r["time_ms"] else None
optimum = min(v for v in rows.values() if v is not None)


def run(make, seed):
    study = optuna.create_study(sampler=make(seed))
    rng = random.Random(seed)
    seen, order, asks, free, wasted = {}, [], [], 0, 0
    dist = {n: optuna.distributions.IntDistribution(0, len(values[n]) - 1) for n in names}
    for _ in range(12 * budget):
        if len(order) >= budget:
            break
        begin = time.perf_counter()
        trial = study.ask(dist)
        asks.append(1000 * (time.perf_counter() - begin))
        key = tuple(trial.params[n] for n in names)
        if key not in rows:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        elif key in seen:
            if seen[key] is None:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, seen[key])
        else:
            seen[key] = rows[key]
            order.append(rows[key])
            wasted = 0
            if rows[key] is None:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, rows[key])
            continue
        free += 1
        wasted += 1
        if wasted >= 20:
            wasted = 0
            key = rng.choice([k for k in rows if k not in seen])
            seen[key] = rows[key]
            order.append(rows[key])
            params = dict(zip(names, key))
            if rows[key] is None:
                t = optuna.trial.create_trial(params=params, distributions=dist, state=optuna.trial.TrialState.PRUNED)
            else:
                t = optuna.trial.create_trial(params=params, distributions=dist, value=rows[key])
            study.add_trial(t)
    return order, asks, free


def summary(label, make):
    reached, best_at, asks, free = {"10": [], "5": [], "1": []}, {}, [], 0
    for seed in range(seeds):
        order, a, f = run(make, seed)
        asks += a
        free += f
        best, course = float("inf"), []
        for v in order:
            if v is not None:
                best = min(best, v)
            course.append(optimum / best)
        for goal in reached:
            limit = 1 / (1 + int(goal) / 100)
            reached[goal].append(next((i + 1 for i, c in enumerate(course) if c >= limit), float("inf")))
        for at in (10, 20, 50, 100, 200):
            if at <= budget:
                best_at[str(at)] = best_at.get(str(at), 0) + course[min(at, len(course)) - 1] / seeds
    asks.sort()
    finite = lambda v: v if v != float("inf") else None
    return {"name": label, "table": name, "seeds": seeds,
            "evaluations_to_median": {g: finite(statistics.median(v)) for g, v in reached.items()},
            "share": {g: sum(x != float("inf") for x in v) / seeds for g, v in reached.items()},
            "best_at": best_at, "ask_ms": {"p50": asks[len(asks) // 2], "p99": asks[int(len(asks) * 0.99)]}, "free_asks": free / seeds}


out = [summary("optuna %s TPE" % optuna.__version__, lambda s: optuna.samplers.TPESampler(multivariate=True, seed=s))]
try:
    import torch  # noqa: F401  the Gaussian process needs it

    out.append(summary("optuna %s GP" % optuna.__version__, lambda s: optuna.samplers.GPSampler(seed=s)))
except ImportError:
    out.append({"name": "optuna %s GP" % optuna.__version__, "table": name, "failed": "needs torch, which is not installed there"})
print(json.dumps(out))
