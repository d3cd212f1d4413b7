#!/usr/bin/env python3
"""Does a test fail when a barrier or a wait of a kernel is missing?

    make mutants
    python3 scripts/mutate_kernels.py [FILE...]      for some files of kernels/, such as topk.cu

Deletes every synchronising statement of kernels/, one at a time, and runs the tests of each kernel
that has it, until one fails. A wait for groups of copies is also weakened by one group. It prints a
row for each mutant and kernel. What no test notices must be in SURVIVORS with a reason, and what is
there must survive: else the exit status is 1. About four minutes on two cores.

Nothing but the kernel is built anew. The test program holds the image of each kernel file byte for
byte; in a copy of the program the mutant's image takes its place. It is the smaller one: it holds
PTX alone, which is what the stand-in driver runs. Mutants run on that even where there is a GPU,
for a GPU would not notice most of them. They live in temporary folders; kernels/ is left alone.

Needs Python 3.8, and what the tests need: cargo and an nvcc.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Set, Tuple

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "kernels"

# What no test can notice: file, function, statement, kernel -> the reason.
SURVIVORS: Dict[Tuple[str, str, str, str], str] = {}

# Seconds that the tests of a kernel may take: ten times what the slowest do.
TIME_LIMIT = 240

# What is left of a deleted statement.
NOTHING = "static_cast<void>(0)"

# Statements of CUDA C++, and what takes their place.
STATEMENTS = (
    (re.compile(r"\b__syncthreads\(\)"), NOTHING),
    (re.compile(r"\b__syncwarp\([^()]*\)"), NOTHING),
    (re.compile(r"\b__threadfence(_block|_system)?\(\)"), NOTHING),
    # A barrier that votes: each thread gets its own vote back, at once.
    (re.compile(r"\b__syncthreads_(or|and|count)\b"), ""),
)

# Inline assembly that synchronises. What holds it is in ptx.cuh; its calls are statements as well.
INSTRUCTION = re.compile(
    r"asm volatile\((?:(?!\);).)*?"
    r"\b(?:(?:bar|barrier|fence|griddepcontrol|mbarrier|membar)\."
    r"|commit_group\b|wait_group\b|wait_all\b)"
    r"(?:(?!\);).)*\)(?=;)",
    re.DOTALL,
)
INSTRUCTIONS_FILE = KERNELS / "ptx.cuh"

# The argument is how many groups of copies may still be under way.
WAIT_FOR_GROUPS = re.compile(r"(?<!void )\bcp_async_wait_group<([^;]*?)>\(\)")


class Failure(Exception):
    """Why there is no verdict, in a sentence."""


@dataclass(frozen=True)
class Mutant:
    """A file of kernels/ with one statement changed."""

    file: str
    line: int
    function: str
    statement: str  # numbered where the function has the same one before
    text: str  # of the whole file


@dataclass(frozen=True)
class Verdict:
    """What came of the tests of one kernel."""

    word: str  # killed, survived or time-out
    by: str = ""


def mutants_of(path: Path) -> List[Mutant]:
    """In the order of the lines."""
    text = path.read_text(encoding="utf-8")
    code = without_comments(text)
    deletions = [*STATEMENTS, (INSTRUCTION, NOTHING), (calls_of_instructions(), NOTHING)]
    changes = []
    for pattern, replacement in deletions:
        for match in pattern.finditer(code):
            changes.append((*match.span(), replacement, label(match[0])))
    for match in WAIT_FOR_GROUPS.finditer(code):
        weaker = f"cp_async_wait_group<({match[1]}) + 1>()"
        changes.append((*match.span(), weaker, label(match[0]) + " too weak"))

    mutants, seen = [], {}
    for start, end, replacement, statement in sorted(changes):
        function = function_at(code, start)
        number = seen[function, statement] = seen.get((function, statement), 0) + 1
        name = statement if number == 1 else f"{statement} #{number}"
        line = text.count("\n", 0, start) + 1
        mutants.append(
            Mutant(path.name, line, function, name, text[:start] + replacement + text[end:])
        )
    return mutants


def label(statement: str) -> str:
    """The statement on one line; of inline assembly, the instruction."""
    quoted = re.search(r'"([^"]*)"', statement)
    return " ".join((quoted[1] if quoted else statement).split())


def without_comments(text: str) -> str:
    """Blanks in their place: what comments mention is no statement."""
    return re.sub(r"//[^\n]*", lambda comment: " " * len(comment[0]), text)


def calls_of_instructions() -> "re.Pattern[str]":
    """Matches calls, but not definitions, of the functions that hold an instruction."""
    code = without_comments(INSTRUCTIONS_FILE.read_text(encoding="utf-8"))
    names = {function_at(code, match.start()) for match in INSTRUCTION.finditer(code)}
    return re.compile(rf"(?<!void )\b(?:{'|'.join(sorted(names))})\b(<[^;]*?>)?\([^;{{]*\)(?=;)")


def function_at(code: str, place: int) -> str:
    """The name of the function there. Functions end with a brace in the first column."""
    before = code[code.rfind("\n}", 0, place) + 1 : place]
    before = re.sub(r"__launch_bounds__\([^()]*\)", "", before)
    return re.search(r"\b(\w+)\([^;{}]*\)\s*\{", before)[1]


def parts_of(path: Path) -> Set[str]:
    """The names of a kernel file and of all of kernels/ that it includes."""
    names = {path.name}
    for name in re.findall(r'^#include "(.+)"', path.read_text(encoding="utf-8"), re.MULTILINE):
        names |= parts_of(path.parent / name)
    return names


def is_in(mutant: Mutant, parts: Set[str]) -> bool:
    """Whether a kernel of these parts has the statement. Of ptx.cuh it has what it calls."""
    if mutant.file != INSTRUCTIONS_FILE.name:
        return mutant.file in parts
    callers = [KERNELS / name for name in parts - {mutant.file}]
    codes = (without_comments(path.read_text(encoding="utf-8")) for path in callers)
    return any(re.search(rf"\b{mutant.function}\b", code) for code in codes)


class TestProgram:
    """That of tests/kernels/, with the kernels' images in it."""

    def __init__(self) -> None:
        command = ["cargo", "test", "--release", "--test", "kernels", "--no-run"]
        command.append("--message-format=json-render-diagnostics")
        cargo = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
        images: Optional[str] = None
        for message in map(json.loads, cargo.stdout.splitlines()):
            name = message.get("target", {}).get("name")
            if name == "kernels" and message["executable"]:
                self.program = Path(message["executable"]).read_bytes()
            elif name == "standin":
                self.driver = next(file for file in message["filenames"] if file.endswith(".so"))
            elif "lexpeak_cuda" in message.get("cfgs", ()):
                images = message["out_dir"]
        if images is None:
            raise Failure("the build has no kernels: run `make toolchain` once")
        self.images = Path(images)

    def compiler(self, kernel: str) -> List[str]:
        """nvcc with the flags of the build, for PTX alone."""
        recipe = (self.images / f"{kernel}.inputs").read_text(encoding="utf-8")
        nvcc, *lines = recipe.splitlines()
        arguments = next(line for line in lines if line.startswith("-fatbin "))
        ptx = re.search(r"arch=(compute_\w+),code=\1\b", arguments)
        return [nvcc, *arguments.split(" -gencode ")[0].split(), "-gencode", ptx[0]]

    def with_image(self, kernel: str, image: bytes) -> bytes:
        """The program with this image in place of that of `kernel`."""
        old = (self.images / f"{kernel}.fatbin").read_bytes()
        if self.program.count(old) != 1 or len(image) > len(old):
            raise Failure(f"the image of {kernel} cannot be replaced in the test program")
        return self.program.replace(old, image.ljust(len(old), b"\0"))

    def judge(self, kernel: str, mutant: Mutant) -> Verdict:
        """Compiles the mutant into `kernel` and runs the tests of that."""
        with tempfile.TemporaryDirectory(prefix="lexpeak-mutant-") as name:
            folder = Path(name)
            sources = Path(shutil.copytree(KERNELS, folder / "kernels"))
            (sources / mutant.file).write_text(mutant.text, encoding="utf-8")
            image = folder / f"{kernel}.fatbin"
            nvcc = subprocess.run(
                [*self.compiler(kernel), "-o", str(image), str(sources / f"{kernel}.cu")],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                universal_newlines=True,
                check=False,
            )
            if nvcc.returncode != 0:
                place = f"{mutant.file}:{mutant.line}"
                raise Failure(f"{place}: {mutant.statement}: does not compile\n{nvcc.stdout}")
            program = folder / "kernels-test"
            program.write_bytes(self.with_image(kernel, image.read_bytes()))
            program.chmod(0o755)
            # Under the names of a GPU's driver it is loaded in place of that.
            for driver in ("libcuda.so", "libcuda.so.1"):
                (folder / driver).symlink_to(self.driver)
            return run_until_failure(program, kernel)


def run_until_failure(program: Path, kernel: str) -> Verdict:
    """Runs the tests in the module of that name."""
    run = subprocess.Popen(
        [str(program), f"{kernel}::", "--test-threads=1"],
        cwd=ROOT,
        env={**os.environ, "LD_LIBRARY_PATH": str(program.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        run.kill()

    timer = threading.Timer(TIME_LIMIT, stop)
    timer.start()
    test, finding, passed = "", "wrong result", 0
    try:
        for line in run.stdout:
            begun = re.search(r"\btest (\w+::\w+) \.\.\. ", line)
            test = begun[1] if begun else test
            found = re.search(r"stand-in: ([a-z ]+): ", line)
            if found and finding == "wrong result":
                finding = found[1]
            if line.endswith("FAILED\n"):
                return Verdict("killed", f"{test}: {finding}")
            passed += line.endswith("ok\n")
        status = run.wait()
    finally:
        timer.cancel()
        run.kill()
        run.wait()
    if late.is_set():
        return Verdict("time-out", f"{test}: {TIME_LIMIT} s")
    if status != 0:
        return Verdict("killed", f"{test}: the program ended with status {status}")
    if passed == 0:
        raise Failure(f"there is no test in tests/kernels/{kernel}.rs")
    return Verdict("survived")


def run_all(names: List[str]) -> Iterator[Tuple[Mutant, str, Verdict]]:
    """The verdict on each mutant of some files in each kernel that has the file."""
    kernels = {path.stem: parts_of(path) for path in sorted(KERNELS.glob("*.cu"))}
    mutants = [mutant for name in names for mutant in mutants_of(KERNELS / name)]
    jobs = [
        (kernel, mutant)
        for mutant in mutants
        for kernel, parts in kernels.items()
        if is_in(mutant, parts)
    ]
    program = TestProgram()
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def judge_all(pairs: List[Tuple[str, Mutant]]) -> Iterator[Verdict]:
            return pool.map(lambda pair: program.judge(*pair), pairs)

        # First as it is: unless tests pass in this way, a failure says nothing of the mutant.
        used = sorted({kernel for kernel, _ in jobs})
        sources = [KERNELS / f"{kernel}.cu" for kernel in used]
        originals = [Mutant(path.name, 1, "", "", path.read_text("utf-8")) for path in sources]
        for kernel, verdict in zip(used, judge_all(list(zip(used, originals)))):
            if verdict.word != "survived":
                raise Failure(f"{kernel}.cu fails unchanged: {verdict.by}")
        for (kernel, mutant), verdict in zip(jobs, judge_all(jobs)):
            yield mutant, kernel, verdict


def main(names: List[str]) -> int:
    all_names = sorted(path.name for path in KERNELS.glob("*.cu*"))
    killed, explained, unexplained = 0, set(), 0
    print(f"| {'place':20} | {'statement':62} | {'kernel':11} | {'verdict':8} | by, or why not |")
    print(f"|{'-' * 22}|{'-' * 64}|{'-' * 13}|{'-' * 10}|---|")
    for mutant, kernel, verdict in run_all(names or all_names):
        word, by = verdict.word, verdict.by
        key = (mutant.file, mutant.function, mutant.statement, kernel)
        if word == "killed":
            killed += 1
        elif key in SURVIVORS:
            explained.add(key)
            by = SURVIVORS[key]
        else:
            unexplained += 1
            word = word.upper()
        place, what = f"{mutant.file}:{mutant.line}", f"{mutant.function}: {mutant.statement}"
        print(f"| {place:20} | {what:62} | {kernel:11} | {word:8} | {by} |", flush=True)

    print(f"\n{killed} killed, {len(explained)} explained, {unexplained} that no test notices")
    stale = set() if names else set(SURVIVORS) - explained
    for key in sorted(stale):
        print(f"No longer survives, take it off the list: {key}")
    return 1 if unexplained or stale else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (Failure, OSError, subprocess.CalledProcessError) as failure:
        sys.exit(f"mutate_kernels: {failure}")
