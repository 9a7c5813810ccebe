// A one-layer LSTM decoder with input feeding and attention by dot product (Luong 2015, 3.3):
// gates from [y_t; h~_{t-1}] and h_{t-1}; weights = softmax(keys h_t); c_t = weights values;
// h~_t = tanh(W_c [c_t; h_t] + b_c). What is fed back is first multiplied by a mask, if any.
#pragma once
#include "attention.h"

template <class G> struct Luong {
    int threads;
    long B, T, fed;  // fed: the width of h~
    const float *x, *h0, *feed0, *feed_mask;  // [B][T][x.width], [B][..], [B][fed], [B][T][fed]
    Columns in[3], join[2];                   // on x, h~, h; on the context and h
    const float* join_bias;
    Memory memory;
    Cell<G> cell;
    G *operands, *joined;  // [B][T][row_stride]: x, fed h~, previous h; context, h
    float *h_last, *out;   // [B][hidden], h~ [B][T][fed]

    Outputs join_out() const { return {1, fed}; }

    void forward() const {
        long wide = total(in), pair = total(join), at_fed = in[0].padded();
        long at_h = at_fed + in[1].padded(), context = join[0].padded();
        long stride = row_stride<G>(wide), joined_stride = row_stride<G>(pair);
        Packed<G> w(cell.out().vectors(), wide), wj(join_out().vectors(), pair);
        pack_forward(w, in, cell.out(), threads);
        pack_forward(wj, join, join_out(), threads);
        long most = most_rows(B, threads), hidden = cell.hidden, padded = cell.padded();
        PerThread<G> local(threads, most * (wide + pair));
        PerThread<float> states(threads, most * padded + context + memory.S + LANES);
        PerThread<int32_t> lists(threads, most * (memory.S + 1));
        over_rows(B, threads, [&](long first, long last) {
            long rows = last - first, S = memory.S;
            G *a = local.mine(), *j = a + rows * wide;
            float *h = states.mine(), *c = h + most * padded, *scores = c + context;
            int32_t *list = lists.mine(), *counts = list + rows * S;
            for (long r = 0; r < rows; r++)
                counts[r] = (int32_t)real_positions(memory, first + r, list + r * S).n;
            for (long t = 0; t < T; t++) {
                for (long r = 0; r < rows; r++)
                    fetch(first + r, t, a + r * wide, at_fed, at_h, stride);
                auto state = [&](long r, long unit, V v) {
                    long at = (first + r) * T + t;
                    store(h + r * padded + unit, v);
                    store(j + r * pair + context + unit, v);
                    store(joined + at * joined_stride + context + unit, v);
                    if (t + 1 < T) store(operands + (at + 1) * stride + at_h + unit, v);
                    else store(h_last + (first + r) * hidden + unit, v, hidden - unit);
                };
                cell.forward(first, rows, t, a, w, wide, state);
                for (long r = 0; r < rows; r++) {
                    long b = first + r, at = b * T + t;
                    Real real{counts[r], list + r * S};
                    for (long k = 0; k < real.n; k++)
                        scores[k] = dot(h + r * padded, memory.key(b, real.at[k]), hidden, memory.value(b, real.at[k]));
                    softmax(scores, real.n);
                    spread(memory.weights + at * S, scores, real, S);
                    weighted_sum(c, scores, memory.value(b, 0), real, memory.value_width, false);
                    place(joined + at * joined_stride, j + r * pair, c, memory.value_width);
                }
                auto finish = [&](long r, long vector, auto& z) {
                    for (long n = 0; n < count(z); n++)
                        attentional((first + r) * T + t, (vector + n) * LANES, z[n], at_fed,
                                    stride, t + 1 < T);
                };
                product<G>(rows, j, pair, wj, finish);
            }
        });
    }

    struct Grads {
        const float *out, *weights, *h_last, *c_last;  // from outside; all may be absent
        float *x, *h0, *c0, *feed0, *join_bias, *bias, *keys, *values;
    };

    void backward(const Grads& g) const {
        Outputs gates = cell.out(), jout = join_out();
        long S = memory.S, hidden = cell.hidden, padded = cell.padded();
        long at_fed = in[0].padded(), at_h = at_fed + in[1].padded(), context = join[0].padded();
        long skip = g.x ? 0 : at_fed;
        Packed<G> w((total(in) - skip) / LANES, gates.width());
        Packed<G> wj(total(join) / LANES, up(jout.width(), PER_STEP<G>));
        if (g.x) pack_backward(w, in, gates, threads);
        else {
            Columns some[2] = {in[1], in[2]};
            pack_backward(w, some, gates, threads);
        }
        pack_backward(wj, join, jout, threads);
        Scratch<G> all(gates.panels() * B * T * PANEL), all_z(jout.panels() * B * T * PANEL);
        std::memset((void*)all_z.data, 0, jout.panels() * B * T * PANEL * sizeof(G));
        long most = most_rows(B, threads), wide_fed = in[1].padded(), near = up(S, LANES);
        PerThread<G> local(threads, most * (gates.width() + jout.width()));
        PerThread<float> states(threads, most * (3 * padded + wide_fed));
        PerThread<float> past(threads, most * T * (context + 2 * near) + T * padded);
        PerThread<int32_t> lists(threads, most * (S + 1));
        over_rows(B, threads, [&](long first, long last) {
            long rows = last - first;
            G *a = local.mine(), *z = a + rows * gates.width();
            float *dh = states.mine(), *dc = dh + rows * padded, *dfed = dc + rows * padded;
            float* from_join = dfed + rows * wide_fed;
            float *dcontext = past.mine(), *weights = dcontext + rows * T * context;
            float *dscores = weights + rows * T * near, *h = dscores + rows * T * near;
            int32_t *list = lists.mine(), *counts = list + rows * S;
            clear(dfed, rows * wide_fed);
            for (long r = 0; r < rows; r++) {
                long b = first + r;
                counts[r] = (int32_t)real_positions(memory, b, list + r * S).n;
                for (long k = 0; k < padded; k += LANES) {
                    long n = hidden - k, at = b * hidden + k;
                    store(dh + r * padded + k, g.h_last && n > 0 ? load(g.h_last + at, n) : (V){});
                    store(dc + r * padded + k, g.c_last && n > 0 ? load(g.c_last + at, n) : (V){});
                }
            }
            for (long t = T - 1; t >= 0; t--) {
                for (long r = 0; r < rows; r++)
                    tanh_back(first + r, t, g.out, dfed + r * wide_fed, z + r * jout.width(),
                              all_z.data);
                auto split = [&](long r, long vector, auto& tile) {
                    for (long n = 0; n < count(tile); n++) {
                        long k = (vector + n) * LANES;
                        if (k < context) store(dcontext + (r * T + t) * context + k, tile[n]);
                        else store(from_join + r * padded + k - context, tile[n]);
                    }
                };
                product<G>(rows, z, jout.width(), wj, split);
                for (long r = 0; r < rows; r++) {
                    long b = first + r, at = b * T + t;
                    Real real{counts[r], list + r * S};
                    float *weight = weights + (r * T + t) * near, *down = dh + r * padded;
                    float* dscore = dscores + (r * T + t) * near;
                    gather(weight, memory.weights + at * S, real);
                    scores_back(dscore, weight, dcontext + (r * T + t) * context,
                                g.weights ? g.weights + at * S : nullptr, memory, b, real);
                    for (long k = 0; k < padded; k += LANES)
                        store(down + k, load(down + k) + load(from_join + r * padded + k));
                    weighted_sum(down, dscore, memory.key(b, 0), real, hidden, true);
                    for (long unit = 0; unit < hidden; unit += LANES)
                        Cell<G>::back(cell, b, t, down, dc + r * padded,
                                      a + r * gates.width(), all.data, unit);
                }
                auto emit = [&](long r, long vector, auto& tile) {
                    for (long n = 0; n < count(tile); n++) {
                        long k = (vector + n) * LANES + skip, at = (first + r) * T + t;
                        if (k >= at_h) store(dh + r * padded + k - at_h, tile[n]);
                        else if (k >= at_fed) store(dfed + r * wide_fed + k - at_fed,
                                                    masked(at, k - at_fed, tile[n]));
                        else store(g.x + at * in[0].width + k, tile[n], in[0].width - k);
                    }
                };
                product<G>(rows, a, gates.width(), w, emit);
            }
            for (long r = 0; r < rows; r++) {
                long b = first + r;
                Real real{counts[r], list + r * S};
                if (g.values)
                    sum_over_time(g.values + b * S * memory.value_width, weights + r * T * near,
                                  near, dcontext + r * T * context, context, T, real, S,
                                  memory.value_width);
                for (long t = 0; t < T; t++)
                    for (long k = 0; k < padded; k += LANES)
                        store(h + t * padded + k, load(joined + (b * T + t) * joined_stride() +
                                                       context + k));
                if (g.keys)
                    sum_over_time(g.keys + b * S * hidden, dscores + r * T * near, near, h,
                                  padded, T, real, S, hidden);
                finish_row(g.h0, dh + r * padded, b, hidden);
                finish_row(g.c0, dc + r * padded, b, hidden);
                finish_row(g.feed0, dfed + r * wide_fed, b, fed);
            }
        });
        weight_gradients(B * T, operands, row_stride<G>(total(in)), in, gates, all.data, g.bias,
                         threads);
        weight_gradients(B * T, joined, joined_stride(), join, jout, all_z.data, g.join_bias,
                         threads);
    }
  private:
    long joined_stride() const { return row_stride<G>(total(join)); }
    // The operands of step t of row b: x now, h~ and h from the step before or from outside.
    void fetch(long b, long t, G* mine, long at_fed, long at_h, long stride) const {
        G* row = operands + (b * T + t) * stride;
        place(row, mine, x + (b * T + t) * in[0].width, in[0].width);
        if (t) return copy(mine + at_fed, row + at_fed, in[1].padded() + in[2].padded());
        for (long k = 0; k < fed; k += LANES) {
            V v = feed0 ? load(feed0 + b * fed + k, fed - k) : (V){};
            store(row + at_fed + k, masked(b * T, k, v));
            store(mine + at_fed + k, masked(b * T, k, v));
        }
        place(row + at_h, mine + at_h, h0 ? h0 + b * cell.hidden : nullptr, cell.hidden);
    }
    V masked(long at, long k, V v) const {
        return feed_mask ? v * load(feed_mask + at * fed + k, fed - k) : v;
    }
    void attentional(long at, long k, V z, long at_fed, long stride, bool feeds) const {
        if (join_bias) z += load(join_bias + k, fed - k);
        V v = trim(tanh<G>(z), fed - k);
        store(out + at * fed + k, v, fed - k);
        if (feeds) store(operands + (at + 1) * stride + at_fed + k, masked(at + 1, k, v));
    }
    void tanh_back(long b, long t, const float* dout, const float* dfed, G* z, G* all) const {
        long at = b * T + t;
        for (long k = 0; k < fed; k += LANES) {
            V y = load(out + at * fed + k, fed - k), d = load(dfed + k);
            if (dout) d += load(dout + at * fed + k, fed - k);
            V v = trim(d * fma(-y, y, splat(1.f)), fed - k);
            store(z + k, v);
            store(panel_at(all, B * T, at, k / LANES), v);
        }
    }
    static void finish_row(float* to, const float* from, long b, long width) {
        for (long k = 0; to && k < width; k += LANES)
            store(to + b * width + k, load(from + k), width - k);
    }
};
