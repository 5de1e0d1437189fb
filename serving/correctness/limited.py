"""Checks whose time nobody can foresee, in a child process that is ended when it takes too long.

A regular expression that people write, or a tower of powers that a model writes, can take hours.
Run as a program this module is the child: a line once it has loaded what it compares with, then a
line of JSON in, a line out. It starts with the first such check, and a thread of the parent at a
time asks it.
"""

import json
import re
import select
import subprocess
import sys
import threading
from typing import IO, Any

from serving.correctness.final_answer import compatible, final_answer
from serving.correctness.matching import MAX_FOUND, Grade

LIMIT_S = 5.0
START_S = 60.0
"""For the start of a child: it loads SymPy, on a machine that may be busy."""
TOO_LONG = "comparing took longer than 5 seconds"
_ENDED = "comparing it ended the program that compares"


class _Child:
    """The child, started when it is needed and again after it was ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, question: dict[str, str]) -> Grade:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = self._start()
            line = self._exchange(self._process, question)
            if not line:
                self._end()
                return Grade(None, TOO_LONG if line is None else _ENDED)
        found: dict[str, Any] = json.loads(line)
        return Grade(found["correct"], str(found["found"])[:MAX_FOUND])

    @staticmethod
    def _start() -> "subprocess.Popen[str]":
        """Return a new child that has loaded everything, or has ended in trying."""
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        _line(process, START_S)
        return process

    @staticmethod
    def _exchange(process: "subprocess.Popen[str]", question: dict[str, str]) -> str | None:
        """Return the line that the child answers; empty where it died, None where it is late."""
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return ""
        return _line(process, LIMIT_S)

    def _end(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()
        self._process = None

    def close(self) -> None:
        """End the child."""
        with self._lock:
            if self._process is not None:
                self._end()


def _line(process: "subprocess.Popen[str]", limit_s: float) -> str | None:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], limit_s)
    return process.stdout.readline() if ready else None


_child = _Child()
close = _child.close


def grade_regex(answer: str, reference: str, argument: str) -> Grade:
    """Search the answer for the pattern ``argument``; the reference is not looked at."""
    return _child.ask({"check": "regex", "answer": answer, "pattern": argument})


def grade_maths(answer: str, reference: str, argument: str) -> Grade:
    """Compare numbers, formulas, sets and intervals by their mathematical meaning (math-verify)."""
    return _child.ask({"check": "maths", "answer": answer, "reference": reference})


def _regex(answer: str, pattern: str) -> dict[str, Any]:
    found = re.search(pattern, answer)
    return {
        "correct": found is not None,
        "found": found.group()[:MAX_FOUND] if found else "no match",
    }


_UNSPACED = re.compile(r"[\u3000-\u30ff\u3400-\u9fff]")
"""Letters of Chinese and Japanese: a result ends before them, as in 72です."""


_COMMANDS = re.compile(r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|\\[A-Za-z]+")


def _is_formula(plain: str) -> bool:
    """Tell whether a text is LaTeX and nothing else, without signs that say so."""
    if "\\" not in plain or "$" in plain or "\\boxed" in plain or "\\(" in plain:
        return False
    return re.search(r"[^\W\d_]{2}", _COMMANDS.sub(" ", plain)) is None


def _maths(answer: str, reference: str) -> dict[str, Any]:
    from math_verify import parse, verify  # loaded by ``_serve``; the parent never needs it

    def read(text: str) -> list[Any]:
        plain = compatible(text)
        marked = _UNSPACED.split(final_answer(plain) or "")[0]
        if not any(map(str.isalnum, plain)):
            return []
        whole = f"${plain.strip()}$"
        # 3\sqrt{13} without signs around it: read as a text it would be the number 13.
        parts = (whole, plain) if _is_formula(plain) else (plain, whole)
        for part in (f"\\boxed{{{marked}}}" if marked else "", *parts):
            if part and (found := parse(part, parsing_timeout=None)):
                return list(found)
        return []

    wanted = read(reference)
    if not wanted:
        return {"correct": None, "found": "the reference answer holds no number or formula"}
    found = read(answer)
    if not found:
        return {"correct": False, "found": "no number or formula"}
    same = verify(wanted, found, timeout_seconds=None)
    return {"correct": bool(same), "found": str(found[-1])[:MAX_FOUND]}


def _serve(asked: IO[str], told: IO[str]) -> None:
    import math_verify  # noqa: F401  # half a second, more on a busy machine, and no part of a limit

    told.write("ready\n")
    told.flush()
    for line in asked:
        question = json.loads(line)
        check = question.pop("check")
        try:
            answer = (_regex if check == "regex" else _maths)(**question)
        except Exception as error:  # whatever SymPy makes of what a model wrote
            answer = {"correct": None, "found": f"could not be compared: {type(error).__name__}"}
        told.write(json.dumps(answer) + "\n")
        told.flush()


if __name__ == "__main__":
    _serve(sys.stdin, sys.stdout)
