"""References to tests, as t/rows.tsv and t/rfc/*.tsv have them: "FILE: CASE, CASE; FILE". A case stands in its file."""

import functools
import os
import re

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CASE = re.compile(r"[\w.-]+")


@functools.lru_cache(maxsize=None)
def text_of(path):
    with open(os.path.join(TOP, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def runs_in_check(path):
    """make check runs it: a unit test, a script, or a fault program that a script beside it calls by name."""
    if path.startswith("t/fault/") and path.endswith(".c"):
        return any(re.search(rf"\b{os.path.basename(path)[:-2]}\b", text_of(f"t/fault/{name}"))
                   for name in os.listdir(os.path.join(TOP, "t", "fault")) if name.endswith(".test"))
    return path.startswith("t/unit/") and path.endswith(".c") or path.startswith("t/") and path.endswith(".test")


def case_error(path, case):
    """The name stands in the file; or its parts do, where a loop puts "group__" and a word of a table together."""
    text = text_of(path)
    if not CASE.fullmatch(case):
        return f"'{case}' is no name of a case"
    if re.search(rf"(?<!\w){re.escape(case)}(?!\w)", text):
        return None
    group, _, rest = case.partition("__")
    if rest and re.search(rf"[\"']{re.escape(group)}__[\"'{{]", text) and f'"{rest}"' in text:
        return None
    return f"{path} has no case '{case}'"


def reference_error(text):
    """None, or what is wrong."""
    for part in text.split("; "):
        path, _, cases = part.partition(": ")
        if not os.path.isfile(os.path.join(TOP, path)):
            return f"there is no file '{path}'"
        if not runs_in_check(path):
            return f"'{path}' is no test that make check runs"
        for case in cases.split(", ") if cases else []:
            wrong = case_error(path, case)
            if wrong:
                return wrong
    return None
