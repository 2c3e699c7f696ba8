"""Kernels between processes: what is kept, when it is compiled anew, and what a kernel refuses."""

import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

from mpc.kernels import build, machine, store
from mpc.kernels.jit import inline, instruction, kernel
from mpc.kernels.signature import parse

ROOT = Path(__file__).parents[3]

HELPERS = """
from mpc.kernels.jit import inline

STEP = 1

@inline
def next_one(x):
    return x + STEP
"""

LOOPS = """
import sys
import numpy as np
from helpers import next_one
from mpc.kernels.jit import kernel

@kernel("int64(const int64[::1], int64[::1])")
def count(numbers, out):
    total = 0
    for i in range(numbers.shape[0]):
        out[i] = next_one(numbers[i])
        total += out[i]
    return total

print(count(np.arange(3), np.zeros(3, np.int64)), "numba" in sys.modules)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "helpers.py").write_text(HELPERS)
    (tmp_path / "loops.py").write_text(LOOPS)
    return tmp_path


def run(program: Path, command: tuple[str, ...] = ("loops.py",), **more: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(program / "cache"), **more}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # Python does not notice an edit in the second of the one before
    result = subprocess.run(
        [sys.executable, *command], cwd=program, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def kept(program: Path) -> list[Path]:
    return sorted((program / "cache" / "sealane" / "kernels").iterdir())


def test_a_kernel_is_compiled_once_and_later_processes_do_not_import_numba(program: Path) -> None:
    assert run(program) == "6 True"
    (file,) = kept(program)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert run(program) == "6 False"
    assert kept(program) == [file]


def test_an_edit_of_another_module_that_is_compiled_in_is_noticed(program: Path) -> None:
    assert run(program) == "6 True"
    (program / "helpers.py").write_text(HELPERS.replace("STEP = 1", "STEP = 2"))
    assert run(program) == "9 True"
    assert run(program) == "9 False"


def test_code_that_was_changed_is_not_run(program: Path) -> None:
    run(program)
    (file,) = kept(program)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert run(program) == "6 True"


@pytest.mark.parametrize("damage", ["cut", "renamed", "others may write", "link", "folder that others may write to"])
def test_code_that_is_not_what_was_kept_is_not_read(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store.write("ab", b"code")
    file = tmp_path / "sealane" / "kernels" / "ab"
    assert store.read("ab") == b"code"
    match damage:
        case "cut":
            file.write_bytes(file.read_bytes()[:-1])
        case "renamed":
            file.rename(file.with_name("cd"))
            assert store.read("cd") is None
        case "others may write":
            file.chmod(0o622)
        case "link":
            file.rename(tmp_path / "elsewhere")
            file.symlink_to(tmp_path / "elsewhere")
        case _:
            file.parent.chmod(0o722)
    assert store.read("ab") is None


def test_kernels_run_where_none_can_be_kept(program: Path) -> None:
    (program / "file").write_text("")
    for _ in range(2):
        assert run(program, XDG_CACHE_HOME=str(program / "file")) == "6 True"


def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    store.write("ab", b"code")
    assert store.read("ab") is None


def test_a_loop_whose_source_is_in_no_file_is_not_kept(program: Path) -> None:
    for _ in range(2):
        assert run(program, ("-c", LOOPS)) == "6 True"
    assert not (program / "cache").exists()


def test_code_of_another_user_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store.write("ab", b"code")
    assert store.read("ab") == b"code"
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    else:
        os.chown(tmp_path / "sealane" / "kernels" / "ab", 12345, 12345)
    assert store.read("ab") is None


@kernel("uint64(uint64[:, ::1], const uint8[::1], uint32, float64)")
def _mixed(words, data, small, fraction):  # type: ignore[no-untyped-def]
    words[0, 0] = small
    return np.uint64(data[0]) + np.uint64(fraction)


def test_arguments_and_results_are_carried_exactly() -> None:
    words = np.zeros((2, 2), np.uint64)
    read_only = np.frombuffer(b"\x05", np.uint8)
    assert _mixed(words, read_only, 2**32 - 1, 2.0) == 7
    assert words.tolist() == [[2**32 - 1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            (np.zeros(4, np.uint64), np.zeros(1, np.uint8), 1, 1.0),
            "a 2-dimensional array of uint64, not a 1-dimensional",
        ),
        ((np.zeros((2, 2), np.int64), np.zeros(1, np.uint8), 1, 1.0), "not a 2-dimensional array of int64"),
        ((np.zeros((2, 3), np.uint64).T, np.zeros(1, np.uint8), 1, 1.0), "not C-contiguous"),
        ((np.frombuffer(bytes(32), np.uint64).reshape(2, 2), np.zeros(1, np.uint8), 1, 1.0), "that can be written to"),
        ((np.zeros((2, 2), np.uint64), [5], 1, 1.0), "not a list"),
        ((np.zeros((2, 2), np.uint64), np.zeros(1, np.uint8), -1, 1.0), "outside its range"),
        ((np.zeros((2, 2), np.uint64), np.zeros(1, np.uint8), 2**32, 1.0), "outside its range"),
        ((np.zeros((2, 2), np.uint64), np.zeros(1, np.uint8), 0.5, 1.0), "a number uint32, not a float"),
        ((np.zeros((2, 2), np.uint64),), "takes 4 arguments"),
    ],
)
def test_wrong_arguments_are_refused_and_named(arguments: tuple[object, ...], complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        _mixed(*arguments)


def test_a_kernel_that_allocates_an_array_is_refused() -> None:
    @kernel("int64()")
    def greedy():  # type: ignore[no-untyped-def]
        return np.zeros(3, np.int64)[0]

    with pytest.raises(TypeError, match=r"greedy is no kernel: .* or it makes arrays"):
        greedy()


def test_a_kernel_that_writes_to_a_constant_array_is_refused() -> None:
    @kernel("void(const int64[::1])")
    def meddle(numbers):  # type: ignore[no-untyped-def]
        numbers[0] = 1

    with pytest.raises(TypeError, match="meddle is no kernel"):
        meddle(np.zeros(1, np.int64))


def test_a_kernel_whose_constant_cannot_be_told_from_another_is_refused() -> None:
    table = [1, 2]

    @kernel("int64()")
    def look():  # type: ignore[no-untyped-def]
        return len(table)

    with pytest.raises(TypeError, match="uses table, a list: it may change unnoticed"):
        look()


def test_constants_within_comprehensions_and_inner_functions_are_noticed() -> None:
    def made(constant: int) -> FunctionType:
        @instruction("uint64(uint64)")
        def plus(builder, value):  # type: ignore[no-untyped-def]
            (total,) = [builder.add(each, each.type(constant)) for each in (value,)]
            return total

        @kernel("uint64(uint64)")
        def use(value):  # type: ignore[no-untyped-def]
            return plus(value)

        assert use(1) == 1 + constant
        return use.function

    assert machine.key(made(1), "") == machine.key(made(1), "")
    assert machine.key(made(1), "") != machine.key(made(2), "")


def test_kernels_that_are_not_kept_do_not_pass_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "key", lambda *_: None)

    def made(constant: int) -> int:
        @kernel("int64(int64)")
        def plus(x):  # type: ignore[no-untyped-def]
            return x + constant

        return int(plus(1))

    assert [made(constant) for constant in range(5)] == [1, 2, 3, 4, 5]


def test_object_code_without_the_function_is_refused() -> None:
    code = build.object_code(lambda x: x + 1, parse("int64(int64)"), "one_name")
    with pytest.raises(ValueError, match="does not hold another_name"):
        machine.load("another_name", code, [])


def test_an_exception_in_a_kernel_is_one_outside() -> None:
    @kernel("int64(int64)")
    def divide(x):  # type: ignore[no-untyped-def]
        return 7 // x

    assert divide(2) == 3
    with pytest.raises(RuntimeError, match="divide raised an exception"):
        divide(0)


def test_kernels_use_kernels_inline_functions_and_instructions() -> None:
    @instruction("uint64(uint64, uint64)")
    def either(builder, a, b):  # type: ignore[no-untyped-def]
        return builder.or_(a, b)

    @inline
    def both(a, b):  # type: ignore[no-untyped-def]
        return either(a, b) + np.uint64(1)

    @kernel("uint64(uint64)")
    def inner(a):  # type: ignore[no-untyped-def]
        return both(a, np.uint64(4))

    @kernel("uint64(uint64)")
    def outer(a):  # type: ignore[no-untyped-def]
        return inner(a) + np.uint64(10)

    assert outer(3) == 18
    with pytest.raises(TypeError, match="for kernels alone"):
        either(1, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "int64",
        "complex(int64)",
        "void(uint64[:])",
        "void(uint64[::1]",
        "void(boolean)",
        "void(uint64[:, :, :, ::1])",
    ],
)
def test_signatures_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="kernel"):
        parse(text)
