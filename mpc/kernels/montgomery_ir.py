"""The functions of `mpc.kernels.montgomery` in LLVM's intermediate representation."""

from collections.abc import Sequence
from functools import reduce

from llvmlite import ir

from mpc.kernels.montgomery_blocks import BlockProducts, Shape
from mpc.kernels.montgomery_products import BLOCK, Multiplier, Products
from mpc.kernels.vector_code import I64, INTEGERS, Value, VectorCode


def working_groups(shape: Shape | None) -> int:
    """Groups that products work in, the last of the memory that a function is given unless it says otherwise."""
    return -(-shape.memory // (2 * shape.limbs)) if shape else 2


class MontgomeryModule:
    """Writes the module, for registers of `lanes` and rows of integers of `row_bits` bits.

    It is for parts of one shape, or without one for parts of any number of limbs.

    Functions that multiply end in the same parameters: constants (N in every lane, -1/N modulo 2^limb_bits, a multiple
    of N with all limbs from 2^limb_bits to 2^(limb_bits + 1) - 1, and zeros for two parts), memory to work in, and the
    limbs of a row.
    """

    def __init__(self, lanes: int, row_bits: int, multiplier: Multiplier, shape: Shape | None) -> None:
        self.module = ir.Module()
        self._lanes = lanes
        self._multiplier = multiplier
        self._limb = ir.IntType(row_bits)
        self._rows = self._limb.as_pointer()
        self._vector = ir.VectorType(I64, lanes)
        self._groups = self._vector.as_pointer()
        self._code = Products(self.module, lanes, multiplier)
        self._working = working_groups(shape)
        self._blocks = BlockProducts(self.module, lanes, multiplier, shape) if shape else None
        fastest = self._blocks or self._code
        self._multiply, self._square = fastest.function("multiply"), fastest.function("square")
        self._scale = fastest.function("scale")
        self._multiply_and_add = self._code.function("multiply", added=True)
        self._reduce = self._code.function("reduce", added=True)
        self._dot, self._part, self._joined = (
            self._code.root_function(),
            self._code.part_function(),
            self._code.join_function(),
        )
        self._multiply_rows()
        self._multiply_parts()
        self._products()
        self._powers_of_table()
        self._join()
        self._powers()
        self._enter()
        self._leave()
        self._shift()

    def _function(self, name: str, *kinds: ir.Type) -> VectorCode:
        return VectorCode(self.module, name, kinds, self._lanes, self._limb)

    def _multiply_rows(self) -> None:
        """out[i] = a[i]·b[i]/R; a step is the number of rows from one to the next, 0 or 1."""
        rows, groups = self._rows, self._groups
        code = self._function("multiply", rows, rows, I64, rows, I64, I64, groups, groups, I64)
        out, a, a_step, b, b_step, count, constants, scratch, limbs = code.arguments
        builder = code.builder
        x, y, sums = (code.group(scratch, code.number(i), limbs) for i in range(3))
        with code.loop(code.number(0), count, self._lanes) as first:
            items = code.items(first, count)
            following = code.items(builder.add(first, code.number(self._lanes)), count)
            ahead = [code.row(out, item, limbs) for item in items]
            for group, base, step in ((x, a, a_step), (y, b, b_step)):
                code.gather(group, [code.row(base, builder.mul(item, step), limbs) for item in items], limbs)
                ahead += [code.row(base, builder.mul(item, step), limbs) for item in following]
            self._look_ahead(code, sums, ahead, limbs)
            builder.call(self._multiply, (x, x, y, constants, sums, limbs))
            code.scatter(x, [code.row(out, item, limbs) for item in items], limbs)
        builder.ret_void()

    def _look_ahead(self, code: VectorCode, memory: Value, rows: Sequence[Value], limbs: Value) -> None:
        """Begin to bring rows near, or have the next product do so while it multiplies."""
        if self._blocks:
            self._blocks.look_ahead(code, memory, rows)
        else:
            code.prefetch(rows, limbs)

    def _multiply_parts(self) -> None:
        """out[i] = a[i]·b[i]/R modulo N, of parts; a step is the number of limbs from one part to the next."""
        rows, groups = self._rows, self._groups
        code = self._function("multiply_parts", rows, I64, rows, I64, rows, I64, I64, groups, groups, I64)
        out, out_step, a, a_step, b, b_step, count, constants, scratch, limbs = code.arguments
        builder = code.builder
        x, y, zero, sums = (code.group(scratch, code.number(i), limbs) for i in range(4))
        half = builder.lshr(limbs, code.number(1))
        code.clear(zero, half)
        with code.loop(code.number(0), count, self._lanes) as first:
            items = code.items(first, count)
            for group, base, step in ((x, a, a_step), (y, b, b_step)):
                code.gather(group, [code.row(base, item, step) for item in items], half)
            builder.call(self._part, (x, x, y, zero, constants, sums, limbs))
            code.scatter(x, [code.row(out, item, out_step) for item in items], half)
        builder.ret_void()

    def _powers_of_table(self) -> None:
        """out[i] = the product of a row for each digit of exponents[i], times 1 + words[i]·N.

        Exponents are little-endian integers, `step` octets from one to the next, which end in eight octets of zeros; a
        digit has `bits` bits, up to 57. The rows of digit k are those of `table` from k·2^bits on. They are pairs a, t
        that stand for a·(1 + t·N), so that the t are but added up; the sum of all `digits` of them, and of the integer
        of `width` 64-bit words, must fit a part. The part `scale` is R² modulo N.
        """
        rows, groups, octets = self._rows, self._groups, ir.IntType(8).as_pointer()
        kinds = (rows, rows, octets, I64, I64, I64, INTEGERS, I64, rows, I64, groups, groups, I64)
        code = self._function("powers_of_table", *kinds)
        out, table, exponents, step, bits, digits, words, width, scale, count, constants, scratch, limbs = (
            code.arguments
        )
        x, y, zero, factors, sums = (code.group(scratch, code.number(i), limbs) for i in (0, 1, 2, 3, 4))
        builder = code.builder
        half = builder.lshr(limbs, code.number(1))
        x_high, y_high = builder.gep(x, [half]), builder.gep(y, [half])
        total = builder.gep(factors, [half])
        mask = builder.sub(builder.shl(code.number(1), bits), code.number(1))
        last = builder.sub(digits, code.number(1))
        code.clear(zero, limbs)
        code.gather(factors, [scale] * self._lanes, half)
        with code.loop(code.number(0), count, self._lanes) as first:
            items = code.items(first, count)
            own = [builder.gep(exponents, [builder.mul(item, step)]) for item in items]

            def at(digit: Value, own: list[Value] = own) -> list[Value]:
                """The address of each exponent's row for a digit."""
                bit, found = builder.mul(digit, bits), []
                for exponent in own:
                    octet = builder.gep(exponent, [builder.lshr(bit, code.number(3))])
                    word = builder.load(builder.bitcast(octet, INTEGERS), align=1)
                    value = builder.and_(builder.lshr(word, builder.and_(bit, code.number(7))), mask)
                    found.append(code.row(table, builder.add(builder.shl(digit, bits), value), limbs))
                return found

            self._read_words(code, words, width, items, y, limbs)
            self._split(code, y, code.number(0), total, half)
            code.gather(y, at(code.number(0)), limbs)
            code.copy(y, x, half)
            code.clear(x_high, half)
            self._add(code, total, y_high, half)
            with code.loop(code.number(1), digits, 1) as digit:
                code.gather(y, at(digit), limbs)
                self._look_ahead(code, sums, at(code.minimum(builder.add(digit, code.number(1)), last)), limbs)
                self._add(code, total, y_high, half)
                builder.call(self._scale, (x, x, y, constants, sums, limbs))
            self._code.carry(code, total, lambda at: code.load(total, at), half)
            builder.call(self._part, (y, total, factors, zero, constants, sums, limbs))
            builder.call(self._part, (x_high, x, y, x_high, constants, sums, limbs))
            code.scatter(x, [code.row(out, item, limbs) for item in items], limbs)
        builder.ret_void()

    def _join(self) -> None:
        """out[i] = ((a[i] + a'[i]·p)·q² + (b[i] + b'[i]·q)·p²)/2^(limb_bits·own_limbs)·(1 + words[i]·N), N = p·q.

        The parts of a[i] and b[i] have `own_limbs` limbs. `factors` are the pairs of q² and q, and of p² and p, `scale`
        the part R² modulo N; words are integers of `width` 64-bit words, which must fit a part.
        """
        rows, groups = self._rows, self._groups
        kinds = (rows, rows, rows, I64, rows, INTEGERS, I64, rows, I64, groups, groups, I64)
        code = self._function("join", *kinds)
        out, a, b, own_limbs, pairs, words, width, scale, count, constants, scratch, limbs = code.arguments
        x, y, z, zero, first_pair, second_pair, factors, memory = (
            code.group(scratch, code.number(i), limbs) for i in range(8)
        )
        builder = code.builder
        half = builder.lshr(limbs, code.number(1))
        own_row = builder.shl(own_limbs, code.number(1))
        code.clear(zero, limbs)
        for number, pair in enumerate((first_pair, second_pair)):
            code.gather(pair, [code.row(pairs, code.number(number), limbs)] * self._lanes, limbs)
        code.gather(factors, [scale] * self._lanes, half)
        with code.loop(code.number(0), count, self._lanes) as first:
            items = code.items(first, count)
            for group, base in ((y, a), (z, b)):
                code.gather(group, [code.row(base, item, own_row) for item in items], own_row)
            builder.call(self._joined, (x, y, z, first_pair, second_pair, constants, memory, own_limbs, limbs))
            self._read_words(code, words, width, items, z, limbs)
            self._split(code, z, code.number(0), y, half)
            builder.call(self._part, (y, y, factors, zero, constants, memory, limbs))
            high = builder.gep(x, [half])
            builder.call(self._part, (high, x, y, high, constants, memory, limbs))
            code.scatter(x, [code.row(out, item, limbs) for item in items], limbs)
        builder.ret_void()

    def _add(self, code: VectorCode, total: Value, group: Value, limbs: Value) -> None:
        """Add a group's limbs to those of another, without carries."""
        with code.loop(code.number(0), limbs, 1) as limb:
            code.store(code.builder.add(code.load(total, limb), code.load(group, limb)), total, limb)

    def _products(self) -> None:
        """out[i] = the product of the rows index[starts[i]] and following, lengths[i] of them, or `one` of none.

        `order` names the lists i to do, `count` of them.
        """
        rows, groups = self._rows, self._groups
        kinds = (rows, rows, INTEGERS, INTEGERS, INTEGERS, INTEGERS, I64, rows, groups, groups, I64)
        code = self._function("products", *kinds)
        out, base, index, starts, lengths, order, count, one, constants, scratch, limbs = code.arguments
        x, y, sums = (code.group(scratch, code.number(i), limbs) for i in range(3))
        builder = code.builder
        with code.loop(code.number(0), count, self._lanes) as first:
            items = [code.read(order, place) for place in code.items(first, count)]
            lists = [(code.read(starts, item), code.read(lengths, item)) for item in items]

            def at(step: Value, lists: list[tuple[Value, Value]] = lists) -> list[Value]:
                """The address of each list's row; that of `one` beyond its end."""
                found = []
                for start, length in lists:
                    inside = builder.icmp_unsigned("<", step, length)
                    place = builder.select(inside, builder.add(start, step), code.number(0))
                    row = code.row(base, code.read(index, place), limbs)
                    found.append(builder.select(inside, row, one))
                return found

            code.gather(x, at(code.number(0)), limbs)
            with code.loop(code.number(1), code.maximum([length for _, length in lists]), 1) as step:
                code.gather(y, at(step), limbs)
                self._look_ahead(code, sums, at(builder.add(step, code.number(1))), limbs)
                builder.call(self._multiply, (x, x, y, constants, sums, limbs))
            code.scatter(x, [code.row(out, item, limbs) for item in items], limbs)
        builder.ret_void()

    def _powers(self) -> None:
        """out[i] = a[i] to the power with the digits digits[i], the most significant first.

        After the digit at a place come squares[place] squarings. Digits are below `entries`; or, if they are all `odd`,
        half of them is, and stands for them.
        """
        rows, groups, octets = self._rows, self._groups, ir.IntType(8).as_pointer()
        kinds = (rows, rows, octets, I64, INTEGERS, I64, I64, I64, I64, rows, groups, groups, I64)
        code = self._function("powers", *kinds)
        out, a, digits, digit_step, squares, places, entries, odd, count, one, constants, scratch, limbs = (
            code.arguments
        )
        x, y, sums, table = (code.group(scratch, code.number(i), limbs) for i in (0, 1, 2, 2 + self._working))
        builder = code.builder
        self._look_ahead(code, sums, [], limbs)
        with code.loop(code.number(0), count, self._lanes) as first:
            items = code.items(first, count)
            code.gather(x, [code.row(a, item, limbs) for item in items], limbs)
            with builder.if_else(builder.icmp_unsigned("!=", odd, code.number(0))) as (if_odd, if_not):
                with if_odd:
                    code.copy(x, table, limbs)
                    builder.call(self._square, (x, x, x, constants, sums, limbs))
                with if_not:
                    code.gather(table, [one] * self._lanes, limbs)
            with code.loop(code.number(1), entries, 1) as entry:
                before = code.group(table, builder.sub(entry, code.number(1)), limbs)
                made = code.group(table, entry, limbs)
                builder.call(self._multiply, (made, before, x, constants, sums, limbs))
            own = [builder.gep(digits, [builder.mul(item, digit_step)]) for item in items]

            def chosen(place: Value, own: list[Value] = own) -> list[Value]:
                return [builder.zext(builder.load(builder.gep(pointer, [place])), I64) for pointer in own]

            code.gather_entries(x, table, chosen(code.number(0)), limbs)
            with code.loop(code.number(0), places, 1) as place:
                with builder.if_then(builder.icmp_unsigned("!=", place, code.number(0))):
                    found = chosen(place)
                    with builder.if_then(builder.icmp_unsigned("!=", reduce(builder.or_, found, odd), code.number(0))):
                        code.gather_entries(y, table, found, limbs)
                        builder.call(self._multiply, (x, x, y, constants, sums, limbs))
                with code.loop(code.number(0), code.read(squares, place), 1):
                    builder.call(self._square, (x, x, x, constants, sums, limbs))
            code.scatter(x, [code.row(out, item, limbs) for item in items], limbs)
        builder.ret_void()

    def _enter(self) -> None:
        """out[i] = words[i]·factor/R² + offset[i], integers of `width` 64-bit words, which must fit a row."""
        rows, groups = self._rows, self._groups
        kinds = (rows, INTEGERS, I64, rows, rows, I64, I64, groups, groups, I64)
        code = self._function("enter", *kinds)
        out, words, width, factor, offset, offset_step, count, constants, scratch, limbs = code.arguments
        builder = code.builder
        low, high, x, y, z, sums = (code.group(scratch, code.number(i), limbs) for i in range(6))
        half = builder.lshr(limbs, code.number(1))
        code.gather(y, [factor] * self._lanes, limbs)
        for group in (low, high):
            code.clear(builder.gep(group, [half]), half)
        with code.loop(code.number(0), count, self._lanes) as first:
            items = code.items(first, count)
            self._read_words(code, words, width, items, x, limbs)
            for group, start in ((low, code.number(0)), (high, half)):
                self._split(code, x, start, group, half)
            builder.call(self._reduce, (x, low, low, high, constants, sums, limbs))
            code.gather(z, [code.row(offset, builder.mul(item, offset_step), limbs) for item in items], limbs)
            builder.call(self._multiply_and_add, (x, x, y, z, constants, sums, limbs))
            code.scatter(x, [code.row(out, item, limbs) for item in items], limbs)
        builder.ret_void()

    def _leave(self) -> None:
        """out[i] = rows[i]/R, an integer below N² + 4·N in `width` 64-bit words, which must hold it."""
        rows, groups = self._rows, self._groups
        code = self._function("leave", INTEGERS, I64, rows, I64, groups, groups, I64)
        out, width, rows_in, count, constants, scratch, limbs = code.arguments
        builder = code.builder
        x, zero, sums = (code.group(scratch, code.number(i), limbs) for i in range(3))
        half = builder.lshr(limbs, code.number(1))
        code.clear(zero, limbs)
        with code.loop(code.number(0), count, self._lanes) as first:
            items = code.items(first, count)
            code.gather(x, [code.row(rows_in, item, limbs) for item in items], limbs)
            builder.call(self._reduce, (x, x, x, zero, constants, sums, limbs))
            code.copy(x, sums, half)
            code.clear(builder.gep(sums, [half]), builder.add(half, code.number(BLOCK)))
            self._code.add_multiple(code, sums, builder.gep(x, [half]), constants, half)
            self._code.carry(code, sums, lambda at: code.load(sums, at), limbs)
            code.clear(x, limbs)
            with code.loop(code.number(0), limbs, 1) as limb:
                self._add_limb(code, code.load(sums, limb), x, limb)
            with code.loop(code.number(0), width, 1) as word:
                vector = code.load(x, word)
                for lane, item in enumerate(items):
                    place = builder.gep(out, [builder.add(builder.mul(item, width), word)])
                    builder.store(builder.extract_element(vector, code.number(lane)), place)
        builder.ret_void()

    def _shift(self) -> None:
        """out[i] = rows[i]·(1 + words[i]·N), of integers of `width` 64-bit words, which must fit a part.

        The pair `scales` is of R² and of R modulo N.
        """
        rows, groups = self._rows, self._groups
        kinds = (rows, rows, INTEGERS, I64, rows, I64, groups, groups, I64)
        code = self._function("shift", *kinds)
        out, rows_in, words, width, scales, count, constants, scratch, limbs = code.arguments
        builder = code.builder
        x, y, z, factors, sums = (code.group(scratch, code.number(i), limbs) for i in range(5))
        half = builder.lshr(limbs, code.number(1))
        code.gather(factors, [scales] * self._lanes, limbs)
        code.clear(builder.gep(y, [half]), half)
        with code.loop(code.number(0), count, self._lanes) as first:
            items = code.items(first, count)
            self._read_words(code, words, width, items, x, limbs)
            self._split(code, x, code.number(0), y, half)
            code.gather(x, [code.row(rows_in, item, limbs) for item in items], limbs)
            builder.call(self._dot, (z, x, y, constants, sums, limbs))
            high = builder.gep(x, [half])
            code.copy(high, builder.gep(z, [half]), half)
            builder.call(self._dot, (high, z, factors, constants, sums, limbs))
            code.scatter(x, [code.row(out, item, limbs) for item in items], limbs)
        builder.ret_void()

    def _read_words(
        self, code: VectorCode, words: Value, width: Value, items: list[Value], group: Value, limbs: Value
    ) -> None:
        """Fill a group with the words of an integer a lane, zeros above them."""
        code.clear(group, limbs)
        with code.loop(code.number(0), width, 1) as word:
            places = [code.builder.add(code.builder.mul(item, width), word) for item in items]
            code.store(code.vector([code.read(words, place) for place in places]), group, word)

    def _split(self, code: VectorCode, words: Value, start: Value, group: Value, limbs: Value) -> None:
        """Fill a group with so many limbs, from the limb `start` on, of the integers whose words are in another."""
        with code.loop(code.number(0), limbs, 1) as limb:
            code.store(self._limb_of(code, words, code.builder.add(limb, start)), group, limb)

    def _limb_of(self, code: VectorCode, words: Value, limb: Value) -> Value:
        """A limb of the integers whose words are in a group, zeros above them."""
        builder = code.builder
        word, shift = self._place(code, limb)
        low, high = code.load(words, word), code.load(words, builder.add(word, code.number(1)))
        over = builder.shl(builder.shl(high, code.splat(1)), code.broadcast(builder.sub(code.number(63), shift)))
        bits = builder.or_(builder.lshr(low, code.broadcast(shift)), over)
        return builder.and_(bits, code.splat((1 << self._multiplier.limb_bits) - 1))

    def _add_limb(self, code: VectorCode, value: Value, words: Value, limb: Value) -> None:
        """Put a limb into the words, zeros so far, of integers in a group."""
        builder = code.builder
        word, shift = self._place(code, limb)
        above = builder.add(word, code.number(1))
        over = builder.lshr(builder.lshr(value, code.splat(1)), code.broadcast(builder.sub(code.number(63), shift)))
        for at, part in ((word, builder.shl(value, code.broadcast(shift))), (above, over)):
            code.store(builder.or_(code.load(words, at), part), words, at)

    def _place(self, code: VectorCode, limb: Value) -> tuple[Value, Value]:
        """The word, and the bit in it, where a limb begins."""
        bit = code.builder.mul(limb, code.number(self._multiplier.limb_bits))
        return code.builder.lshr(bit, code.number(6)), code.builder.and_(bit, code.number(63))
