"""The kernels for AVX-512 IFMA on processors without it: their code with the two instructions emulated computes what
integers do, and compiled for a processor that has them, it consists of these instructions."""

import random
import re

import llvmlite.binding as llvm
import numpy as np
import pytest
from ifma_emulation import EMULATED_IFMA

from mpc.kernels import montgomery
from mpc.kernels.montgomery import IFMA, MACHINES, MIN_LIMBS, SPARE_BITS, best_machine
from mpc.kernels.montgomery_blocks import Shape
from mpc.primitives.paillier import residues as residues_module
from mpc.primitives.paillier.residues_gmp import GmpResidues
from mpc.primitives.paillier.residues_vector import VectorResidues
from mpc.primitives.paillier.words import ints_from_words, rows_of_words

REAL_IFMA = next(machine for machine in MACHINES if machine.multiplier is IFMA)


def test_the_emulated_code_is_the_real_one_but_for_two_instructions():
    assert (REAL_IFMA.lanes, REAL_IFMA.row_bits, REAL_IFMA.limb_bits) == (8, 64, 52)
    assert (EMULATED_IFMA.lanes, EMULATED_IFMA.row_bits, EMULATED_IFMA.limb_bits) == (8, 64, 52)
    functions = ("products", "powers_of_table", "powers", "multiply", "multiply_parts", "enter", "shift", "join")
    for shape in (None, Shape(2, 20)):
        texts = [machine.text(shape) for machine in (REAL_IFMA, EMULATED_IFMA)]
        for function in functions:
            bodies = [re.search(rf'define void @"{function}".*?\n}}', text, re.S)[0] for text in texts]
            assert bodies[0] == bodies[1]


@pytest.mark.parametrize("bits", [64, 208, 417, 1024, 1536, 3072])
def test_products_and_powers_by_emulated_ifma_are_those_of_integers(bits):
    generator = random.Random(bits)
    for root in (generator.getrandbits(bits) | 1 | 1 << bits - 1, (1 << bits) - 1):
        modulus, residues = root**2, VectorResidues(root, EMULATED_IFMA)
        ones = [(1 << 52 * limbs) - 1 for limbs in range(1, modulus.bit_length() // 52, 7)]
        values = [0, 1, modulus - 1, modulus // 2, *ones, *(generator.randrange(modulus) for _ in range(9))]
        rows = residues.affine(rows_of_words(values, residues.words), 1, 0)
        products = residues.multiply(rows, rows[::-1])
        expected = [x * y % modulus for x, y in zip(values, values[::-1], strict=True)]
        assert ints_from_words(residues.leave(products)) == expected
        exponent = generator.getrandbits(70)
        powers = residues.power(rows, exponent)
        assert ints_from_words(residues.leave(powers)) == [pow(value, exponent, modulus) for value in values]
        table = residues.table([2, root - 1], 5, 4)
        octets = np.array([[255, 3], [0, 0], [37, 2]], np.uint8)
        found = residues.powers_of_table(table, 5, octets, None)
        digits = [(31, 31), (0, 0), (5, 17)]
        assert ints_from_words(residues.leave(found)) == [4 * 2**x * (root - 1) ** y % modulus for x, y in digits]
        whole = residues.products(rows[1:], np.arange(len(values) - 1), np.array([2, len(values) - 3]))
        assert ints_from_words(residues.leave(whole))[0] == values[1] * values[2] % modulus


def test_compiled_for_a_processor_with_ifma_the_products_are_its_instructions():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    machine = target.create_target_machine(features="+avx512f,+avx512ifma", opt=3)
    assembly = machine.emit_assembly(llvm.parse_assembly(REAL_IFMA.text(Shape(2, 20))))
    assert len(re.findall(r"vpmadd52luq\s.*%zmm", assembly)) > 20
    assert len(re.findall(r"vpmadd52huq\s.*%zmm", assembly)) > 20
    assert "vpmul" not in assembly


@pytest.mark.parametrize(("features", "register"), [("+avx2", "ymm"), ("+avx512f", "zmm")])
def test_without_ifma_the_products_are_of_32_bits_by_32_bits(features, register):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    code = next(m for m in MACHINES if m.needs == {features[1:]})
    assembly = target.create_target_machine(features=features, opt=3).emit_assembly(
        llvm.parse_assembly(code.text(None))
    )
    assert len(re.findall(rf"vpmuludq\s.*%{register}", assembly)) > 20
    assert "vpmullq" not in assembly


@pytest.mark.parametrize("machine", [*MACHINES, EMULATED_IFMA], ids=lambda machine: machine.name)
def test_rows_hold_all_words_of_a_modulus_and_the_spare_bits(machine):
    for bits in range(64, 16385, 61):
        room = machine.limbs((1 << bits) - 1) * machine.limb_bits
        assert room >= bits + SPARE_BITS
        assert room >= -(-bits // 64) * 64
        assert machine.limbs((1 << bits) - 1) >= MIN_LIMBS


@pytest.mark.parametrize(
    ("limbs", "shape"),
    [(8, None), (12, None), (20, (2, 10)), (32, (2, 16)), (40, (4, 10)), (60, (4, 15)), (80, (4, 20)), (160, (8, 20))],
)
def test_parts_of_the_usual_keys_are_cut_into_blocks(limbs, shape):
    assert Shape.of(limbs) == (shape and Shape(*shape))


@pytest.mark.parametrize("shape", [Shape(2, 10), Shape(3, 20), Shape(4, 15), Shape(8, 20)])  # 8192 bits at most
def test_columns_of_products_in_blocks_stay_within_63_bits(shape):
    products = 2 * (2 * shape.size * 2**52)  # of two pairs of blocks, in a column: low halves and high ones
    pairs = shape.count * 2 * products  # in a column each: less what two blocks give, or more what their sums give
    carried = shape.count * 2 * 2 * 2**52
    reduction = 2 * shape.limbs * 2**52 + 2**54
    assert products + pairs + carried + reduction < 2**63


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_sums_of_products_stay_within_64_bits_between_carries(machine):
    largest = (1 << machine.limb_bits) - 1
    for products in (2, 3):  # of each limb of the first factor: with the other factor or two of them, and the modulus
        limbs = machine.multiplier.limbs_between_carries(products)
        terms = products * (2 * largest if machine.multiplier.high else largest**2)
        carry = 1 << (64 - machine.limb_bits)
        assert limbs * terms + 3 * largest + carry < 2**64


@pytest.mark.parametrize(
    ("has", "chosen"),
    [
        ({"sse2"}, None),
        ({"sse2", "avx", "avx2"}, "avx2"),
        ({"avx2", "avx512ifma"}, "avx2"),
        ({"avx2", "avx512f", "avx512bw"}, "avx512f"),
        ({"avx2", "avx512f", "avx512bw", "avx512ifma"}, "avx512ifma"),
    ],
)
def test_the_fastest_registers_that_the_processor_has_are_chosen(monkeypatch, has, chosen):
    monkeypatch.setattr(montgomery, "features", lambda: frozenset(has))
    best = best_machine()
    assert (best.name if best else None) == chosen
    if best is None or best.multiplier is not IFMA:  # which this processor may not be able to execute
        residues = residues_module.residues_of_square(1009)
        assert type(residues) is (VectorResidues if chosen else GmpResidues)
        assert ints_from_words(residues.leave(residues.affine(rows_of_words([5], 1), 7, 1))) == [36]
