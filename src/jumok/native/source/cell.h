// What the recurrences share: weights in segments, rows of operands, the walk through time.
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
    place(here, here, from, width);
}
INLINE void clear(float* to, long n) { std::memset(to, 0, n * sizeof(float)); }

// Where (row, vector) of a gradient of outputs goes for row_sums.
template <class G> INLINE G* panel_at(G* data, long all_rows, long row, long vector) {
    return data + (vector / 4 * all_rows + row) * PANEL + vector % 4 * LANES;
}

// [B][T] rows of concatenated segments, each row `stride` long: an odd number of cache lines,
// so that the rows that row_sums walks do not fall into the same few sets of the cache.
template <class G> INLINE long row_stride(long width) {
    return sizeof(G) == 4 && width / LANES % 2 == 0 ? width + LANES : width;
}
INLINE long most_rows(long B, int threads) {
    long n = blocks_of(B, threads);
    return (B + n - 1) / n;
}

// A recurrence is a struct with nested Forward and Backward, whose step and step_back treat a
// block of rows at one time; decoders with attention drive the same steps. What a block owns:
template <class G> struct Block {
    long first, rows;
    G* operands;    // `operands` of them per row, uninitialised
    float* floats;  // `floats` of them per row; first of all the gradient of the state
};
template <class Core> void run_forward(const Core& core) {
    typedef typename Core::Operand G;
    typename Core::Forward forward(core);
    PerThread<G> local(core.threads, most_rows(core.B, core.threads) * forward.operands());
    over_rows(core.B, core.threads, [&](long first, long last) {
        Block<G> block{first, last - first, local.mine(), nullptr};
        for (long t = 0; t < core.T; t++) forward.step(block, t);
    });
}
template <class Core> void run_backward(const Core& core, const typename Core::Grads& grads) {
    typedef typename Core::Operand G;
    typename Core::Backward back(core, grads);
    long most = most_rows(core.B, core.threads);
    PerThread<G> local(core.threads, most * back.operands());
    PerThread<float> floats(core.threads, most * back.floats());
    over_rows(core.B, core.threads, [&](long first, long last) {
        Block<G> block{first, last - first, local.mine(), floats.mine()};
        back.start(block);
        for (long t = core.T - 1; t >= 0; t--) back.step(block, t);
        back.finish(block);
    });
    back.weights();
}
// A row of a gradient, `padded` apart in a block, to its place [B][width], if it is wanted.
INLINE void finish_rows(float* to, const float* from, long first, long rows, long width) {
    for (long r = 0; to && r < rows; r++)
        std::memcpy(to + (first + r) * width, from + r * up(width, LANES), width * sizeof(float));
}
