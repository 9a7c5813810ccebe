// y = x W^T + b for many rows, and the way back.
#pragma once
#include "cell.h"

template <class G> struct Linear {
    int threads;
    long rows;
    Columns in[1];
    Outputs out;
    G* operands;  // [rows][row_stride]: x
    long stride() const { return row_stride<G>(in[0].padded()); }

    void forward(const float* x, const float* bias, float* y) const {
        long wide = in[0].padded(), width = out.hidden;
        Packed<G> w(out.vectors(), wide);
        pack_forward(w, in, out, threads);
        over_rows(rows, threads, [&](long first, long last) {
            for (long r = first; r < last; r++)
                place(operands + r * stride(), x + r * in[0].width, in[0].width);
            auto emit = [&](long r, long vector, Tile tile) {
                for (long n = 0; n < count(tile); n++) {
                    long k = (vector + n) * LANES;
                    V v = bias ? tile[n] + load(bias + k, width - k) : tile[n];
                    store(y + (first + r) * width + k, v, width - k);
                }
            };
            product<G>(last - first, operands + first * stride(), stride(), w, emit);
        });
    }
    void backward(const float* dy, float* dx, float* dbias) const {
        long wide = out.width(), width = out.hidden;
        Packed<G> w(dx ? in[0].padded() / LANES : 0, wide);
        if (dx) pack_backward(w, in, out, threads);
        Scratch<G> all(out.panels() * rows * PANEL);
        PerThread<G> local(threads, most_rows(rows, threads) * wide);
        over_rows(rows, threads, [&](long first, long last) {
            G* a = local.mine();
            for (long r = first; r < last; r++)
                for (long k = 0; k < out.panels() * PANEL; k += LANES) {
                    V d = k < width ? load(dy + r * width + k, width - k) : (V){};
                    if (k < wide) store(a + (r - first) * wide + k, d);
                    store(panel_at(all.data, rows, r, k / LANES), d);
                }
            auto emit = [&](long r, long vector, Tile tile) {
                for (long n = 0; n < count(tile); n++) {
                    long k = (vector + n) * LANES;
                    store(dx + (first + r) * in[0].width + k, tile[n], in[0].width - k);
                }
            };
            product<G>(last - first, a, wide, w, emit);
        });
        if (in[0].grad || dbias)
            weight_gradients(rows, operands, stride(), in, out, all.data, dbias, threads);
    }
};
