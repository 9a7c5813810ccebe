// Products: register tiles over packed weights, and the sum over rows that weights' gradients are.
// Operands are float, or bfloat16 in pairs of neighbours along the summed axis; sums are float.
#pragma once
#include <type_traits>

#include "memory.h"
#include "vector.h"

// What one multiplication takes from each lane: a float, or a pair of bfloat16.
template <class G> constexpr long PER_STEP = 4 / sizeof(G);
INLINE long up(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }
INLINE long least(long a, long b) { return a < b ? a : b; }

template <class G> INLINE V multiply_add(const uint32_t* a, V b, V c) {
    if constexpr (PER_STEP<G> == 1) {
        float x;
        std::memcpy(&x, a, sizeof x);
        return fma(splat(x), b, c);
    } else {
#if defined(__AVX512BF16__)
        return _mm512_dpbf16_ps(c, (__m512bh)_mm512_set1_epi32(*a), (__m512bh)b);
#else
        U x = *a - (U){}, y = (U)b;
        c = fma((V)(x << 16), (V)(y << 16), c);
        return fma((V)(x & 0xffff0000u), (V)(y & 0xffff0000u), c);
#endif
    }
}

// A tile of R rows and N vectors: out[r N + n] = (out +) the sum over steps of a[r][step] times
// b[step][n]; strides in steps. Its accumulators are the registers; all products run through it.
template <class G, int R, int N>
__attribute__((noinline)) void tile(V* out, bool more, const uint32_t* a, long row, long step,
                                    const uint32_t* b, long stride, long steps) {
    V c[R][N];
    for (int r = 0; r < R; r++)
        for (int n = 0; n < N; n++) c[r][n] = more ? out[r * N + n] : (V){};
    for (long k = 0; k < steps; k++) {
        V w[N];
        for (int n = 0; n < N; n++) w[n] = load((const float*)(b + k * stride) + n * LANES);
        for (int r = 0; r < R; r++)
            for (int n = 0; n < N; n++)
                c[r][n] = multiply_add<G>(a + r * row + k * step, w[n], c[r][n]);
    }
    for (int r = 0; r < R; r++)
        for (int n = 0; n < N; n++) out[r * N + n] = c[r][n];
}
typedef void (*Kernel)(V*, bool, const uint32_t*, long, long, const uint32_t*, long, long);
template <class G, int R = STRIP> Kernel kernel(long rows, long vectors) {
    if constexpr (R > 1)
        if (rows < R) return kernel<G, R - 1>(rows, vectors);
    static constexpr Kernel widths[] = {tile<G, R, 1>, tile<G, R, 2>, tile<G, R, 3>, tile<G, R, 4>};
    return widths[vectors - 1];
}
struct Tile {  // one row of a result: N vectors
    const V* v;
    long n;
    const V& operator[](long i) const { return v[i]; }
};
INLINE long count(Tile t) { return t.n; }

// f(rows, first row) over strips of at most STRIP rows, as even as they come.
template <class F> INLINE void strips(long rows, F f) {
    long n = (rows + STRIP - 1) / STRIP;
    for (long i = 0; i < n; i++) f(rows * (i + 1) / n - rows * i / n, rows * i / n);
}
template <int N> using Int = std::integral_constant<int, N>;
template <class F> INLINE void widths(long vectors, F f) {  // f(Int<N>, first vector)
    long v = 0;
    for (; v + 4 <= vectors; v += 4) f(Int<4>{}, v);
    if (vectors - v == 1) f(Int<1>{}, v);
    if (vectors - v == 2) f(Int<2>{}, v);
    if (vectors - v == 3) f(Int<3>{}, v);
}

// Weights laid out for `product`: panels of (at most) four vectors, steps inside.
template <class G> struct Packed {
    long vectors, steps;
    Scratch<uint32_t> units;
    Packed(long vectors_, long length)
        : vectors(vectors_), steps(length / PER_STEP<G>), units(vectors_ * LANES * steps) {}
    // Every unit from value(vector, lane, k): what lane of vector multiplies entry k by.
    template <class F> void fill(int threads, F value) {
        over_items((vectors + 3) / 4, threads, [&](long panel) {
            long width = least(4, vectors - 4 * panel);
            uint32_t* unit = units.data + 4 * panel * LANES * steps;
            for (long s = 0; s < steps; s++)
                for (long v = 0; v < width; v++) {
                    for (int part = 0; part < PER_STEP<G>; part++) {
                        float lane[LANES];
                        value(4 * panel + v, s * PER_STEP<G> + part, lane);
                        put(unit, load(lane), part);
                    }
                    unit += LANES;
                }
        });
    }
  private:
    INLINE void put(uint32_t* unit, V lanes, int part) {
        if constexpr (PER_STEP<G> == 1) store((float*)unit, lanes);
        else {
            H bits;
            bf16 rounded[LANES];
            store(rounded, lanes);
            std::memcpy(&bits, rounded, sizeof bits);
            U wide = __builtin_convertvector(bits, U), old;
            std::memcpy(&old, unit, sizeof old);
            wide = part ? (wide << 16) | old : wide;
            std::memcpy(unit, &wide, sizeof wide);
        }
    }
};

// emit(row, first vector, Tile) for every row and panel of a[rows][..] times the packed weights.
// Only the first `steps` of each panel are used where steps is given.
template <class G, class E>
INLINE void product(long rows, const G* a, long stride, const Packed<G>& w, E emit,
                    long steps = -1) {
    const uint32_t* units = (const uint32_t*)a;
    long row = stride / PER_STEP<G>;
    for (long v = 0; v < w.vectors; v += 4) {
        long n = least(4, w.vectors - v);
        const uint32_t* panel = w.units.data + v * LANES * w.steps;
        strips(rows, [&](long strip, long first) {
            V c[STRIP * 4];
            kernel<G>(strip, n)(c, false, units + first * row, row, 1, panel, n * LANES,
                                steps < 0 ? w.steps : steps);
            for (long r = 0; r < strip; r++) emit(first + r, v, Tile{c + r * n, n});
        });
    }
}

// Rows of pairs: step k of the result holds rows 2k and 2k+1 side by side.
INLINE void zip(uint32_t* out, const bf16* even, const bf16* odd, long n) {
    for (long j = 0; j < n; j += LANES) {
        H low, high = {};
        std::memcpy(&low, even + j, sizeof low);
        if (odd) std::memcpy(&high, odd + j, sizeof high);
        U u = __builtin_convertvector(low, U) | (__builtin_convertvector(high, U) << 16);
        std::memcpy(out + j, &u, sizeof u);
    }
}

constexpr long STEPS = 256;  // a block of the summed axis, so that both operands stay near

// sum over rows k of left[k][m] right[k][n], for every panel of `right`: the gradient of a
// weight. left is [rows][stride], the first `width` columns of it; right is [panels][rows][PANEL].
// finish(panel, sums [width][PANEL], column sums of right [PANEL]). The order of the sum over
// rows is the same for any number of threads.
template <class G, class F>
void row_sums(long rows, const G* left, long stride, long width, const G* right, long panels,
              int threads, F finish) {
    constexpr bool paired = PER_STEP<G> == 2;
    long steps = (rows + PER_STEP<G> - 1) / PER_STEP<G>, columns = up(width, LANES);
    long near = paired ? columns | LANES : stride;  // an odd number of cache lines
    Scratch<uint32_t> zipped(paired ? steps * near : 0);
    if constexpr (paired)
        over_items((steps + STEPS - 1) / STEPS, threads, [&](long block) {
            for (long k = block * STEPS; k < least(steps, (block + 1) * STEPS); k++) {
                const G* row = left + 2 * k * stride;
                zip(zipped.data + k * near, row, 2 * k + 1 < rows ? row + stride : nullptr, columns);
            }
        });
    const uint32_t* a = paired ? zipped.data : (const uint32_t*)left;
    PerThread<float> sums(threads, width * PANEL);
    PerThread<uint32_t> pairs(threads, paired ? STEPS * PANEL : 0);
    over_items(panels, threads, [&](long panel) {
        float* c = sums.mine();
        V total[4] = {};
        for (long k = 0; k < steps; k += STEPS) {
            long n = least(STEPS, steps - k);
            const G* block = right + (panel * rows + k * PER_STEP<G>)*PANEL;
            long block_rows = least(n * PER_STEP<G>, rows - k * PER_STEP<G>);
            const uint32_t* b = (const uint32_t*)block;
            for (long i = 0; i < block_rows; i++)
                for (int v = 0; v < 4; v++) total[v] += load(block + i * PANEL + v * LANES);
            if constexpr (paired) {
                b = pairs.mine();
                for (long i = 0; i < n; i++)
                    zip(pairs.mine() + i * PANEL, block + 2 * i * PANEL,
                        2 * i + 1 < block_rows ? block + (2 * i + 1) * PANEL : nullptr, PANEL);
            }
            strips(width, [&](long strip, long first) {
                kernel<G>(strip, 4)((V*)c + first * 4, k > 0, a + k * near + first, 1, near, b,
                                    PANEL, n);
            });
        }
        float column[PANEL];
        for (int v = 0; v < 4; v++) store(column + v * LANES, total[v]);
        finish(panel, c, column);
    });
}
