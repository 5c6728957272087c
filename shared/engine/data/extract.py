#!/usr/bin/env python3
"""Adds versions to the tables of flags in this folder, from the engines' sources.

    extract.py vllm VERSION=FOLDER …        unpacked wheels of vllm
    extract.py sglang VERSION=FOLDER …      unpacked wheels of sglang
    extract.py tensorrt-llm VERSION=FILE …  tensorrt_llm/commands/serve.py
    extract.py llama.cpp VERSION=FILE …     tools/server/README.md

Sources are parsed, never run. Only facts are kept: names, types, defaults,
choices, what is deprecated, and from which version up to which. An entry without
"since" is in the first version; "until" is the first that lacks it or has it in
another form. Which flags are commonly tuned is in tuned.txt. Without versions a
file is written anew, for a change of tuned.txt.
"""
import ast
import glob
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# What is not known without running the engine.
UNKNOWN = object()


def tuned(engine):
    names, section = set(), None
    with open(os.path.join(HERE, "tuned.txt"), encoding="utf-8") as f:
        for line in f:
            line = line.split("#")[0].strip()
            if line.endswith(":"):
                section = line[:-1]
            elif line and section == engine:
                names.update(line.split())
    return names


def literal(node, names=None):
    """The value of an expression that is a constant, else UNKNOWN."""
    if node is None:
        return UNKNOWN
    if names and isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "list" and node.args:
        return literal(node.args[0], names)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = literal(node.left, names), literal(node.right, names)
        if isinstance(left, list) and isinstance(right, list):
            return left + right
    if isinstance(node, ast.List) or isinstance(node, ast.Tuple):
        items = [literal(e.value if isinstance(e, ast.Starred) else e, names) for e in node.elts]
        return UNKNOWN if any(i is UNKNOWN for i in items) else items
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return UNKNOWN


def text(value):
    if value is UNKNOWN or value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return " ".join(text(v) for v in value)
    if isinstance(value, dict):
        return json.dumps(value) if value else ""
    return str(value)


def parse(path):
    with open(path, encoding="utf-8") as f:
        return ast.parse(f.read())


def words(annotation, aliases):
    """The names in a type, and the values of its Literals, aliases followed."""
    found, choices = set(), []
    for node in ast.walk(annotation):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                inner = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                continue
            if isinstance(inner, ast.Name) and inner.id in aliases:
                f, c = words(aliases[inner.id], {k: v for k, v in aliases.items() if k != inner.id})
                found |= f
                choices += c
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "Literal":
            values = literal(node.slice)
            choices += values if isinstance(values, list) else [values]
            found.add("Literal")
        elif isinstance(node, ast.Name):
            found.add(node.id)
            if node.id in aliases:
                f, c = words(aliases[node.id], {k: v for k, v in aliases.items() if k != node.id})
                found |= f
                choices += c
    return found, [c for c in choices if c is not UNKNOWN]


def kind(found, classes=()):
    if "Literal" in found and "bool" not in found:
        return "text"
    if found & set(classes) or "dict" in found or "Dict" in found:
        return "json"
    if "list" in found or "List" in found or "tuple" in found or "set" in found:
        return "list"
    if "bool" in found:
        return "switch"
    if "int" in found and "str" not in found:
        return "integer"
    if "float" in found and "str" not in found:
        return "number"
    return "text"


# --- vLLM -------------------------------------------------------------------


def vllm(folder):
    aliases, classes = {}, {}
    sources = glob.glob(os.path.join(folder, "vllm/config/*.py")) + glob.glob(os.path.join(folder, "vllm/config.py"))
    cli = [p for p in ("vllm/entrypoints/openai/cli_args.py", "vllm/entrypoints/launchers/cli_args.py", "vllm/entrypoints/common/cli_args.py") if os.path.exists(os.path.join(folder, p))]
    sources += [os.path.join(folder, p) for p in cli]
    sources.append(os.path.join(folder, "vllm/model_executor/layers/quantization/__init__.py"))
    for path in sources:
        for node in parse(path).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                aliases[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
                aliases[node.target.id] = node.value

    def members(name):
        fields = {}
        node = classes.get(name)
        if node is None:
            return fields
        for base in node.bases:
            fields.update(members(getattr(base, "id", "")))
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                fields[item.target.id] = item
        return fields

    def default_of(item):
        value = item.value
        bounds = {}
        if isinstance(value, ast.Call) and getattr(value.func, "id", "") in ("Field", "field"):
            keys = {k.arg: k.value for k in value.keywords}
            for low, high in (("ge", "le"),):
                if low in keys:
                    bounds["low"] = literal(keys[low])
                if high in keys:
                    bounds["high"] = literal(keys[high])
            value = keys.get("default", value.args[0] if value.args else None)
        result = literal(value)
        if isinstance(value, ast.Attribute):  # an enum or another class's field
            owner = classes.get(getattr(value.value, "id", ""))
            for sub in owner.body if owner else []:
                if isinstance(sub, ast.AnnAssign) and getattr(sub.target, "id", "") == value.attr:
                    result = literal(sub.value)
        return result, {k: v for k, v in bounds.items() if v is not UNKNOWN}

    configs = {c for c in classes if c.endswith("Config")}

    def describe(item):
        found, choices = words(item.annotation, aliases)
        value, bounds = default_of(item)
        if found >= {"bool", "str"} and "Literal" not in found:
            shape = "text"
        elif "bool" in found and "Literal" not in found and not found & configs:
            shape = "toggle"
        else:
            shape = kind(found, configs)
        flag = {"type": shape, **bounds}
        if value is not UNKNOWN:
            flag["default"] = text(value)
        if choices and shape == "text":
            flag["choices"] = [text(c) for c in dict.fromkeys(choices)]
            if "str" in found:
                flag["open"] = True
        return flag

    flags = []
    tree = parse(os.path.join(folder, "vllm/engine/arg_utils.py"))
    aliases_here = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = literal(node.value)
            if value is not UNKNOWN:
                aliases_here[node.targets[0].id] = value
    engine_fields = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    engine_fields.setdefault(item.target.id, item)
    for owner in [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name in ("EngineArgs", "AsyncEngineArgs")]:
        for method in [n for n in owner.body if isinstance(n, ast.FunctionDef) and n.name == "add_cli_args"]:
            groups = {}
            for node in ast.walk(method):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "get_kwargs":
                    groups[node.targets[0].id] = node.value.args[0].id
            for node in ast.walk(method):
                if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"):
                    continue
                names = [literal(a) for a in node.args]
                if not names or not all(isinstance(n, str) for n in names):
                    continue
                flag = {"type": "text"}
                for keyword in node.keywords:
                    for part in ast.walk(keyword.value) if keyword.arg is None else ():
                        if not isinstance(part, ast.Subscript):
                            continue
                        group = getattr(part.value, "id", "")
                        item = members(groups.get(group, "")).get(literal(part.slice))
                        if item is not None:
                            flag.update(describe(item))
                    if keyword.arg is None and isinstance(keyword.value, ast.Dict):  # {**field, "default": None}
                        for key, value in zip(keyword.value.keys, keyword.value.values):
                            if key is not None and literal(key) == "default":
                                flag["default"] = text(literal(value))
                given = {k.arg: k.value for k in node.keywords if k.arg}
                action = ast.unparse(given["action"]) if "action" in given else ""
                if "BooleanOptional" in action:
                    flag["type"] = "toggle"
                elif "store_true" in action or "store_false" in action:
                    flag["type"] = "switch"
                if "choices" in given and isinstance(literal(given["choices"], aliases_here), list):
                    flag["choices"] = [text(c) for c in literal(given["choices"], aliases_here)]
                if "type" in given and ast.unparse(given["type"]) in ("int", "float"):
                    flag["type"] = {"int": "integer", "float": "number"}[ast.unparse(given["type"])]
                if "default" in given:
                    value = given["default"]
                    item = engine_fields.get(getattr(value, "attr", ""))
                    constant = literal(value) if item is None else literal(item.value)
                    if constant is not UNKNOWN:
                        flag["default"] = text(constant)
                if "deprecated" in given and literal(given["deprecated"]) is True or "Deprecated" in action:
                    flag["deprecated"] = "goes in a later version"
                long = [n for n in names if n.startswith("--")] or names
                flag["name"] = long[0].lstrip("-")
                flag["aliases"] = [n.lstrip("-") for n in names if n != long[0]]
                flags.append(flag)
    known = {f["name"] for f in flags}
    front = members("FrontendArgs")
    front.pop("get_flat_product", None)
    for name, item in front.items():
        flag = describe(item)
        flag["name"] = name.replace("_", "-")
        if flag["name"] not in known:
            flags.append(flag)
    return flags


# --- SGLang -----------------------------------------------------------------


def sglang(folder):
    new = sorted(glob.glob(os.path.join(folder, "sglang/srt/arg_groups/fields/*.py")))
    names = {}
    for path in [os.path.join(folder, "sglang/srt/server_args.py")] + glob.glob(os.path.join(folder, "sglang/srt/arg_groups/choices.py")):
        for node in parse(path).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                value = literal(node.value, names)
                if value is not UNKNOWN:
                    names[node.targets[0].id] = value
    flags = []
    defaults = {}
    if new:
        for path in new:
            for owner in [n for n in parse(path).body if isinstance(n, ast.ClassDef)]:
                for item in owner.body:
                    flag = sglang_field(item, names)
                    if flag:
                        flags.append(flag)
    for owner in [n for n in parse(os.path.join(folder, "sglang/srt/server_args.py")).body if isinstance(n, ast.ClassDef)]:
        for item in owner.body:
            flag = None if new else sglang_field(item, names)
            if flag:
                flags.append(flag)
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                defaults[item.target.id] = item
        for method in [n for n in owner.body if isinstance(n, ast.FunctionDef) and n.name.startswith("add_") or getattr(n, "name", "").startswith("_add_")]:
            for node in ast.walk(method):
                flag = argparse_call(node, names, defaults)
                if flag and flag["name"] not in {f["name"] for f in flags}:
                    flags.append(flag)
    return flags


def sglang_field(item, names):
    if not isinstance(item, ast.AnnAssign) or not isinstance(item.annotation, ast.Subscript):
        return None
    if getattr(item.annotation.value, "id", "") != "A" or not isinstance(item.annotation.slice, ast.Tuple):
        return None
    kind_node, about = item.annotation.slice.elts[0], item.annotation.slice.elts[1]
    given = {}
    if isinstance(about, ast.Call):
        given = {k.arg: k.value for k in about.keywords}
    if literal(given.get("no_cli")) is True:
        return None
    found, choices = words(kind_node, {})
    name = literal(given.get("cli_name"))
    if name is UNKNOWN:
        name = "--" + item.target.id.replace("_", "-")
    flag = {"name": name.lstrip("-"), "type": kind(found)}
    if "type_parser" in given and flag["type"] in ("list", "json"):
        flag["type"] = "json" if "json" in ast.unparse(given["type_parser"]) else "text"
    if "action" in given and "Deprecated" in ast.unparse(given["action"]):
        flag["deprecated"] = "goes in a later version"
    listed = literal(given.get("choices"), names)
    if isinstance(listed, list):
        flag["choices"] = [text(c) for c in listed if c is not None]
    elif choices:
        flag["choices"] = [text(c) for c in choices if c is not None]
    also = literal(given.get("aliases"))
    if isinstance(also, list):
        flag["aliases"] = [a.lstrip("-") for a in also]
    value = literal(item.value, names)
    if value is not UNKNOWN:
        flag["default"] = text(value)
    return flag


def argparse_call(node, names, defaults):
    if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"):
        return None
    options = [literal(a) for a in node.args]
    if not options or not all(isinstance(o, str) and o.startswith("-") for o in options):
        return None
    given = {k.arg: k.value for k in node.keywords}
    long = [o for o in options if o.startswith("--")]
    flag = {"name": long[0].lstrip("-"), "aliases": [o.lstrip("-") for o in options if o != long[0]], "type": "text"}
    action = ast.unparse(given["action"]) if "action" in given else ""
    shape = ast.unparse(given["type"]) if "type" in given else ""
    if "store_true" in action or "StoreTrue" in action or "store_const" in action:
        flag["type"] = "switch"
    elif "BooleanOptional" in action:
        flag["type"] = "toggle"
    elif "json" in shape:
        flag["type"] = "json"
    elif "nargs" in given and literal(given["nargs"]) in ("+", "*"):
        flag["type"] = "list"
    elif shape in ("int", "float"):
        flag["type"] = {"int": "integer", "float": "number"}[shape]
    if "Deprecated" in action:
        instead = literal(given.get("new_flag"))
        flag["deprecated"] = "use " + instead if isinstance(instead, str) else "goes in a later version"
    listed = literal(given.get("choices"), names)
    if isinstance(listed, list):
        flag["choices"] = [text(c) for c in listed if c is not None]
    if "default" in given:
        value = given["default"]
        item = defaults.get(getattr(value, "attr", ""))
        constant = literal(value, names) if item is None else literal(item.value, names)
        if constant is not UNKNOWN:
            flag["default"] = text(constant)
    return flag


# --- TensorRT-LLM -----------------------------------------------------------


def tensorrt(path):
    flags = []
    for function in [n for n in parse(path).body if isinstance(n, ast.FunctionDef) and n.name == "serve"]:
        for call in function.decorator_list:
            if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "click.option"):
                continue
            names = [literal(a) for a in call.args]
            long = [n for n in names if n.startswith("--")]
            given = {k.arg: k.value for k in call.keywords}
            shape = ast.unparse(given["type"]) if "type" in given else "str"
            flag = {"name": long[0].lstrip("-"), "aliases": [n.lstrip("-") for n in long[1:]],
                    "type": {"int": "integer", "float": "number"}.get(shape, "text")}
            if literal(given.get("is_flag")) is True:
                flag["type"] = "switch"
            if "Choice" in shape:
                listed = literal(given["type"].args[0])
                if isinstance(listed, list):
                    flag["choices"] = listed
                    if len(given["type"].args) > 1 and isinstance(given["type"].args[1], ast.Dict):
                        flag["choices"] = listed + [literal(k) for k in given["type"].args[1].keys]
            value = literal(given.get("default"))
            if value is not UNKNOWN and flag["type"] != "switch":
                flag["default"] = text(value)
            flags.append(flag)
    return flags


# --- llama.cpp --------------------------------------------------------------


def llama(path):
    flags = []
    with open(path, encoding="utf-8") as f:
        page = f.read()
    page = page.split("<!-- HELP_START -->")[1].split("<!-- HELP_END -->")[0]
    for line in page.splitlines():
        match = re.match(r"\| `(-[^`]*)` \| (.*) \|$", line)
        if not match:
            continue
        left, right = match.group(1).replace("\\|", "|"), match.group(2).replace("\\|", "|")
        names, value = [], ""
        for part in re.split(r",\s+(?=-)", left):
            word, _, rest = part.strip().partition(" ")
            names.append(word)
            value = value or rest.strip()
        long = [n for n in names if n.startswith("--") and not n.startswith("--no-")] or [n for n in names if n.startswith("--")]
        if not long:
            continue
        # The clearest name stands last, as in: -ngl, --gpu-layers, --n-gpu-layers N
        name = long[-1]
        negative = [n for n in names if n.lstrip("-").startswith("no-") and n != name]
        flag = {"name": name.lstrip("-"), "aliases": [n.lstrip("-") for n in names if n != name and n not in negative and n not in NEGATIVE_SHORT]}
        default = re.search(r"\(default: '?([^,)']*)'?", right)
        choices = re.match(r"^[\[<{]([A-Za-z0-9_-]+(?:[|,][A-Za-z0-9_-]+)+)[\]>}]$", value)
        allowed = re.search(r"allowed values: ([a-z0-9_, ]+)", right)
        if not value:
            flag["type"] = "toggle" if negative else "switch"
        elif choices:
            flag["type"] = "text"
            flag["choices"] = re.split(r"[|,]", choices.group(1))
        elif allowed:
            flag["type"] = "text"
            flag["choices"] = [c.strip() for c in allowed.group(1).split(",")]
        elif value == "N" and default and re.match(r"^-?\d+\.\d+$", default.group(1)):
            flag["type"] = "number"
        elif value == "N" and not re.search(r"'auto'|or 'all'|N0", right):
            flag["type"] = "integer"
        else:
            flag["type"] = "text"
        if default:
            stands = {"enabled": "true", "disabled": "false", "unused": "", '""': ""}.get(default.group(1), default.group(1))
            if not stands.startswith("same as") and " " not in stands:
                flag["default"] = stands
        if "DEPRECATED" in right:
            flag["deprecated"] = "goes in a later version"
        flags.append(flag)
    return flags


NEGATIVE_SHORT = {"-nkvo", "-nr", "-nocb", "-nopo", "-no-ag"}


WHERE = {"vllm": "vllm/engine/arg_utils.py, vllm/config, cli_args.py", "sglang": "sglang/srt/server_args.py, arg_groups",
         "tensorrt-llm": "tensorrt_llm/commands/serve.py, llmapi/llm_args.py", "llama.cpp": "tools/server/README.md"}
ORDER = ("name", "aliases", "type", "default", "choices", "open", "tuned", "deprecated", "low", "high", "file", "since", "until")


def tidy(flags, usual):
    """The flags by name, with what says nothing left out."""
    table = {}
    for flag in flags:
        if flag["name"] in table:
            continue
        aliases = [a for a in flag.get("aliases", []) if a != flag["name"]]
        flag = {**flag, "aliases": aliases, "tuned": any(n in usual for n in [flag["name"]] + aliases) or None}
        table[flag["name"]] = {k: flag[k] for k in ORDER if flag.get(k) not in (None, "", [])}
    return table


def number(version):
    return [int(n) for n in re.findall(r"\d+", version.split("-")[0])]


def unfold(path, usual):
    """The tables of a file, by version."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as f:
        file = json.load(f)
    tables = {version: {} for version in file["versions"]}
    for flag in file["flags"]:
        since, until = flag.pop("since", None), flag.pop("until", None)
        within = since is None
        for version in file["versions"]:
            within = (within or version == since) and version != until
            if within:
                tables[version][flag["name"]] = flag
    return {version: tidy(table.values(), usual) for version, table in tables.items()}


def fold(tables, versions):
    """One entry for each form that a flag had, with the versions of the form."""
    entries = []
    for name in sorted({n for table in tables.values() for n in table}):
        before = None
        for version in versions:
            form = tables[version].get(name)
            if form == before:
                continue
            if before:
                entries[-1]["until"] = version
            if form:
                entries.append(dict(form) if version == versions[0] else {**form, "since": version})
            before = form
    return entries


def main():
    engine, usual = sys.argv[1], tuned(sys.argv[1])
    read = {"vllm": vllm, "sglang": sglang, "tensorrt-llm": tensorrt, "llama.cpp": llama}[engine]
    out = os.path.join(HERE, engine + ".json")
    tables = unfold(out, usual)
    for source in sys.argv[2:]:
        version, _, path = source.partition("=")
        # What an engine takes in a file is entered by hand; a later version keeps it.
        by_hand = [f for table in list(tables.values())[-1:] for f in table.values() if f.get("file")]
        tables[version] = tidy(read(path) + by_hand, usual)
        print(f"{version}: {len(tables[version])} flags")
    versions = sorted(tables, key=number)
    lines = ",\n".join("  " + json.dumps(f, ensure_ascii=False) for f in fold(tables, versions))
    with open(out, "w", encoding="utf-8") as f:
        f.write('{"engine": %s, "source": %s, "versions": %s, "flags": [\n%s\n]}\n' % (
            json.dumps(engine), json.dumps(WHERE[engine]), json.dumps(versions), lines))


main()
