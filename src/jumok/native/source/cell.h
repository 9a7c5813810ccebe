// What the recurrences share: weights in segments, rows of operands, the LSTM cell.
// Inside, gates lie interleaved: LANES units of i, then of f, g and o, then the next units, so
// that one register tile holds all that a unit needs. Widths are rounded up to LANES.
#pragma once
#include "matmul.h"

// Columns of a weight [rows][stride]; `grad`, of the same shape, may be absent.
struct Columns {
    const float* weight;
    float* grad;
    long stride, width;
    long padded() const { return up(width, LANES); }
};
// How the output rows of a weight become vectors: `gates` rows of `hidden` each, interleaved.
struct Outputs {
    long gates, hidden;
    long blocks() const { return up(hidden, LANES) / LANES; }
    long vectors() const { return gates * blocks(); }
    long width() const { return vectors() * LANES; }
    long panels() const { return up(width(), PANEL) / PANEL; }
    long real(long vector) const { return hidden - vector / gates * LANES; }  // may exceed LANES
    long row(long vector) const { return vector % gates * hidden + vector / gates * LANES; }
};
template <int N> INLINE long total(const Columns (&segments)[N]) {
    long width = 0;
    for (const Columns& s : segments) width += s.padded();
    return width;
}

// Weights for [x | h | ..] times weight^T, segments in a row.
template <class G, int N>
void pack_forward(Packed<G>& packed, const Columns (&segments)[N], Outputs out, int threads) {
    packed.fill(threads, [&](long vector, long k, float* lane) {
        int i = 0;
        for (; i + 1 < N && k >= segments[i].padded(); i++) k -= segments[i].padded();
        const Columns& s = segments[i];
        const float* w = s.weight + out.row(vector) * s.stride + k;
        long real = k < s.width ? out.real(vector) : 0;
        for (long j = 0; j < LANES; j++) lane[j] = j < real ? w[j * s.stride] : 0.f;
    });
}
// Weights for a gradient of the outputs times the weight: vectors run over the columns.
template <class G, int N>
void pack_backward(Packed<G>& packed, const Columns (&segments)[N], Outputs out, int threads) {
    packed.fill(threads, [&](long vector, long k, float* lane) {
        int i = 0;
        long column = vector * LANES;
        for (; i + 1 < N && column >= segments[i].padded(); i++) column -= segments[i].padded();
        const Columns& s = segments[i];
        const float* w = s.weight + (out.row(k / LANES) + k % LANES) * s.stride + column;
        bool real = k % LANES < out.real(k / LANES);
        store(lane, real ? load(w, s.width - column) : (V){});
    });
}
// The gradients of all segments and of the bias from the operands of all rows and times.
template <class G, int N>
void weight_gradients(long rows, const G* operand, long stride, const Columns (&segments)[N],
                      Outputs out, const G* grad_out, float* grad_bias, int threads) {
    auto finish = [&](long panel, const float* sums, const float* column) {
        for (long i = 0; i < PANEL; i++) {
            long vector = (panel * PANEL + i) / LANES, lane = i % LANES;
            if (vector >= out.vectors() || lane >= out.real(vector)) continue;
            long row = out.row(vector) + lane;
            if (grad_bias) grad_bias[row] = column[i];
            const float* c = sums + i;
            for (const Columns& s : segments) {
                for (long k = 0; s.grad && k < s.width; k++)
                    s.grad[row * s.stride + k] = c[k * PANEL];
                c += s.padded() * PANEL;
            }
        }
    };
    row_sums<G>(rows, operand, stride, total(segments), grad_out, out.panels(), threads, finish);
}

// One row of `width` floats (absent: zeros) into two places, rounded to G, padding zeroed.
template <class G> INLINE void place(G* here, G* there, const float* from, long width) {
    for (long k = 0; k < width; k += LANES) {
        V v = from ? load(from + k, width - k) : (V){};
        store(here + k, v);
        store(there + k, v);
    }
}
template <class G> INLINE void place(G* here, const float* from, long width) {
    for (long k = 0; k < width; k += LANES) store(here + k, load(from + k, width - k));
}
template <class G> INLINE void copy(G* to, const G* from, long n) {
    std::memcpy(to, from, n * sizeof(G));
}
INLINE void clear(float* to, long n) { std::memset(to, 0, n * sizeof(float)); }

// Where (row, vector) of a gradient of outputs goes for row_sums.
template <class G> INLINE G* panel_at(G* data, long all_rows, long row, long vector) {
    return data + (vector / 4 * all_rows + row) * PANEL + vector % 4 * LANES;
}

// An LSTM's cell over B rows and T times; torch's order i, f, g, o.
template <class G> struct Cell {
    long B, T, hidden;
    const float *bias, *c0;  // [4 hidden] and [B][hidden], or absent
    float* c;                // [B][T][hidden]
    G* gates;                // [B][T][4 padded]
    Outputs out() const { return {4, hidden}; }
    long padded() const { return up(hidden, LANES); }
    INLINE V past(const Cell& s, long row, long t, long unit) {
        long n = s.hidden - unit;
        if (t) return load(s.c + (row * s.T + t - 1) * s.hidden + unit, n);
        return s.c0 ? load(s.c0 + row * s.hidden + unit, n) : (V){};
    }
    // The new states of a block of rows from its operands a; emit(row in block, unit, h).
    template <class E>
    void forward(long first, long rows, long t, const G* a, const Packed<G>& w, long stride,
                 E emit, long steps = -1) const {
        auto finish = [&](long r, long vector, V* z) {
            long unit = vector / 4 * LANES, n = hidden - unit, at = (first + r) * T + t;
            V s[4];
            for (int g = 0; g < 4; g++)
                s[g] = bias ? z[g] + load(bias + g * hidden + unit, n) : z[g];
            V i = sigmoid<G>(s[0]), f = sigmoid<G>(s[1]), g = tanh<G>(s[2]), o = sigmoid<G>(s[3]);
            V now = fma(f, past(*this, first + r, t, unit), i * g);
            G* kept = gates + (at * padded() + unit) * 4;
            store(kept, i);
            store(kept + LANES, f);
            store(kept + 2 * LANES, g);
            store(kept + 3 * LANES, o);
            store(c + at * hidden + unit, now, n);
            emit(r, unit, trim(o * tanh<G>(now), n));
        };
        product<G>(rows, a, stride, w, finish, steps);
    }
    // From dh and dc (one row, padded) the gradient before the gates, to two places, and the
    // gradient of the previous cell state, which replaces dc.
    INLINE void back(const Cell& s, long row, long t, const float* dh, float* dc, G* here,
                     G* all, long unit) {
        long n = s.hidden - unit, at = row * s.T + t;
        const G* kept = s.gates + (at * s.padded() + unit) * 4;
        V i = load(kept), f = load(kept + LANES), g = load(kept + 2 * LANES);
        V o = load(kept + 3 * LANES), one = splat(1.f);
        V h = tanh<G>(load(s.c + at * s.hidden + unit, n)), d = load(dh + unit);
        V dnow = fma(d * o, fma(-h, h, one), load(dc + unit));
        V dz[4] = {dnow * g * i * (one - i), dnow * past(s, row, t, unit) * f * (one - f),
                   dnow * i * fma(-g, g, one), d * h * o * (one - o)};
        for (int k = 0; k < 4; k++) {
            V v = trim(dz[k], n);
            store(here + unit * 4 + k * LANES, v);
            store(panel_at(all, s.B * s.T, at, unit / LANES * 4 + k), v);
        }
        store(dc + unit, trim(dnow * f, n));
    }
};

// [B][T] rows of concatenated segments, each row `stride` long: an odd number of cache lines,
// so that the rows that row_sums walks do not fall into the same few sets of the cache.
template <class G> INLINE long row_stride(long width) {
    return sizeof(G) == 4 && width / LANES % 2 == 0 ? width + LANES : width;
}
INLINE long most_rows(long B, int threads) {
    long n = blocks_of(B, threads);
    return (B + n - 1) / n;
}
