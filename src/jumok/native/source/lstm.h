// An LSTM over a sequence, and the way back through it.
#pragma once
#include "cell.h"

template <class G> struct Lstm {
    int threads;
    long B, T;
    const float *x, *h0;  // [B][T][x.width]; h0 may be absent
    Columns in[2];        // the weights on x and on h
    Cell<G> cell;
    G* operands;  // [B][T][row_stride]: x and the previous h of every step
    float* h;     // [B][T][hidden]

    void forward() const {
        long wide = total(in), stride = row_stride<G>(wide), after = in[0].padded();
        Packed<G> w(cell.out().vectors(), wide);
        pack_forward(w, in, cell.out(), threads);
        PerThread<G> local(threads, most_rows(B, threads) * wide);
        over_rows(B, threads, [&](long first, long last) {
            G* a = local.mine();
            for (long t = 0; t < T; t++) {
                for (long b = first; b < last; b++) {
                    G *row = operands + (b * T + t) * stride, *mine = a + (b - first) * wide;
                    place(row, mine, x + (b * T + t) * in[0].width, in[0].width);
                    if (t) copy(mine + after, row + after, in[1].padded());
                    else place(row + after, mine + after, h0 ? h0 + b * in[1].width : nullptr,
                               in[1].width);
                }
                auto emit = [&](long r, long unit, V state) {
                    long at = (first + r) * T + t;
                    store(h + at * cell.hidden + unit, state, cell.hidden - unit);
                    if (t + 1 < T) store(operands + (at + 1) * stride + after + unit, state);
                };
                long steps = t || h0 ? -1 : after / PER_STEP<G>;
                cell.forward(first, last - first, t, a, w, wide, emit, steps);
            }
        });
    }

    // dh, dc [B][T][hidden] from outside (dc may be absent); dx, dh0, dc0 are written unless
    // absent, and so are the gradients in `in` and of the bias.
    void backward(const float* dh, const float* dc, float* dx, float* dh0, float* dc0,
                  float* dbias) const {
        Outputs out = cell.out();
        long padded = cell.padded(), before = dx ? in[0].padded() : 0;
        Packed<G> w((before + padded) / LANES, out.width());
        if (dx) pack_backward(w, in, out, threads);
        else {
            Columns only[1] = {in[1]};
            pack_backward(w, only, out, threads);
        }
        Scratch<G> all(out.panels() * B * T * PANEL);
        long most = most_rows(B, threads);
        PerThread<G> local(threads, most * out.width());
        PerThread<float> states(threads, most * 2 * padded);
        over_rows(B, threads, [&](long first, long last) {
            G* a = local.mine();
            float *up_h = states.mine(), *up_c = up_h + most * padded;
            clear(up_h, 2 * most * padded);
            for (long t = T - 1; t >= 0; t--) {
                for (long b = first; b < last; b++)
                    step_back(b, t, dh, dc, up_h + (b - first) * padded,
                              up_c + (b - first) * padded, a + (b - first) * out.width(),
                              all.data);
                if (!t && !dx && !dh0) break;
                auto emit = [&](long r, long vector, auto& tile) {
                    for (long n = 0; n < count(tile); n++) {
                        long k = (vector + n) * LANES;
                        if (k >= before) store(up_h + r * padded + k - before, tile[n]);
                        else store(dx + ((first + r) * T + t) * in[0].width + k, tile[n],
                                   in[0].width - k);
                    }
                };
                product<G>(last - first, a, out.width(), w, emit);
            }
            for (long b = first; b < last; b++)
                for (long k = 0; k < cell.hidden; k += LANES) {
                    long from = (b - first) * padded + k, to = b * cell.hidden + k;
                    if (dh0) store(dh0 + to, load(up_h + from), cell.hidden - k);
                    if (dc0) store(dc0 + to, load(up_c + from), cell.hidden - k);
                }
        });
        weight_gradients(B * T, operands, row_stride<G>(total(in)), in, out, all.data, dbias,
                         threads);
    }
  private:
    void step_back(long b, long t, const float* dh, const float* dc, float* up_h, float* up_c,
                   G* here, G* all) const {
        for (long unit = 0; unit < cell.hidden; unit += LANES) {
            long n = cell.hidden - unit, at = (b * T + t) * cell.hidden + unit;
            if (dh) store(up_h + unit, load(up_h + unit) + load(dh + at, n));
            if (dc) store(up_c + unit, load(up_c + unit) + load(dc + at, n));
            Cell<G>::back(cell, b, t, up_h, up_c, here, all, unit);
        }
    }
};
