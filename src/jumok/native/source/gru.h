// A GRU over a sequence: r, z = sigmoid(..); n = tanh(W_n x + b_n + r (U_n h)) where the reset
// comes after the product, tanh(W_n x + b_n + U_n (r h)) where it comes before;
// h' = (1 - z) n + z h, or with `z_new` h' = (1 - z) h + z n. Rows r, z, n in the weights.
#pragma once
#include "cell.h"

template <class G> struct Gru {
    int threads;
    bool before, z_new;
    long B, T, width, hidden;
    const float *x, *bias, *h0;    // bias and h0 may be absent
    const float *on_x, *on_h;      // [3 hidden][width], [3 hidden][hidden]
    float* h;                      // [B][T][hidden]
    float *r, *z, *n, *inner;      // [B][T][padded]; inner: U_n h, where the reset is after
    G* operands;                   // [B][T][row_stride]: h, x and, where before, r h

    struct Grads {
        const float* h;
        float *x, *on_x, *on_h, *bias, *h0;
    };
    long padded() const { return up(hidden, LANES); }
    long at_x() const { return padded(); }
    long at_reset() const { return padded() + up(width, LANES); }
    long wide() const { return at_reset() + padded(); }
    long stride() const { return row_stride<G>(wide()); }
    G* row(long b, long t) const { return operands + (b * T + t) * stride(); }
    long slot(long b, long t) const { return (b * T + t) * padded(); }
    Outputs gates() const { return {2, hidden}; }
    Outputs candidate() const { return {1, hidden}; }
    // The rows of r and z, or of n, of a weight; `grad` goes with it.
    static Columns part(const float* weight, float* grad, long columns, long skip) {
        return {weight + skip * columns, grad ? grad + skip * columns : nullptr, columns, columns};
    }
    Columns x_part(long skip, float* grad = nullptr) const {
        return part(on_x, grad, width, skip);
    }
    Columns h_part(long skip, float* grad = nullptr) const {
        return part(on_h, grad, hidden, skip);
    }
    V bias_at(long gate, long unit) const {
        return bias ? load(bias + gate * hidden + unit, hidden - unit) : (V){};
    }
    V past(long b, long t, long unit) const {
        if (t) return load(h + (b * T + t - 1) * hidden + unit, hidden - unit);
        return h0 ? load(h0 + b * hidden + unit, hidden - unit) : (V){};
    }

    void forward() const {
        long x_wide = up(width, LANES);
        Packed<G> rz(gates().vectors(), at_reset()), nx(candidate().vectors(), x_wide);
        Packed<G> nh(candidate().vectors(), padded());
        Columns both[2] = {h_part(0), x_part(0)}, of_x[1] = {x_part(2 * hidden)};
        Columns of_h[1] = {h_part(2 * hidden)};
        pack_forward(rz, both, gates(), threads);
        pack_forward(nx, of_x, candidate(), threads);
        pack_forward(nh, of_h, candidate(), threads);
        PerThread<G> local(threads, most_rows(B, threads) * wide());
        over_rows(B, threads, [&](long first, long last) {
            for (long t = 0; t < T; t++) step(first, last - first, t, rz, nx, nh, local.mine());
        });
    }
    void step(long first, long rows, long t, const Packed<G>& rz, const Packed<G>& nx,
              const Packed<G>& nh, G* a) const {
        for (long i = 0; i < rows; i++) {
            long b = first + i;
            for (long unit = 0; unit < hidden; unit += LANES) {
                store(row(b, t) + unit, past(b, t, unit));
                store(a + i * wide() + unit, past(b, t, unit));
            }
            place(row(b, t) + at_x(), a + i * wide() + at_x(), x + (b * T + t) * width, width);
        }
        auto opened = [&](long i, long vector, auto& tile) {
            for (long k = 0; k < count(tile); k++) {
                long gate = (vector + k) % 2, unit = (vector + k) / 2 * LANES, b = first + i;
                V open = trim(sigmoid<G>(tile[k] + bias_at(gate, unit)), hidden - unit);
                store((gate ? z : r) + slot(b, t) + unit, open);
                if (gate || !before) continue;
                store(a + i * wide() + at_reset() + unit, open * past(b, t, unit));
                store(row(b, t) + at_reset() + unit, open * past(b, t, unit));
            }
        };
        product<G>(rows, a, wide(), rz, opened);
        auto from_x = [&](long i, long vector, auto& tile) {
            for (long k = 0; k < count(tile); k++)
                store(n + slot(first + i, t) + (vector + k) * LANES, tile[k]);
        };
        product<G>(rows, a + at_x(), wide(), nx, from_x);
        auto done = [&](long i, long vector, auto& tile) {
            for (long k = 0; k < count(tile); k++) {
                long unit = (vector + k) * LANES, b = first + i, at = slot(b, t) + unit;
                if (!before) store(inner + at, tile[k]);
                V reset = before ? tile[k] : load(r + at) * tile[k];
                V now = tanh<G>(load(n + at) + bias_at(2, unit) + reset), open = load(z + at);
                V old = past(b, t, unit), new_share = z_new ? open : splat(1.f) - open;
                store(n + at, trim(now, hidden - unit));
                store(h + (b * T + t) * hidden + unit, fma(new_share, now - old, old),
                      hidden - unit);
            }
        };
        product<G>(rows, a + (before ? at_reset() : 0), wide(), nh, done);
    }

    // The gradients of one step's inputs to the gates, of a block of rows and of all.
    struct Back {
        G *rz, *n, *inner, *all_rz, *all_n, *all_inner;
        float *h, *reset;
    };
    void backward(const Grads& g) const {
        long x_wide = g.x ? up(width, LANES) : 0, most = most_rows(B, threads), rows = B * T;
        Packed<G> rz((padded() + x_wide) / LANES, gates().width());
        Packed<G> nx(x_wide / LANES, candidate().width());
        Packed<G> nh(padded() / LANES, candidate().width());
        Columns both[2] = {h_part(0), x_part(0)}, of_x[1] = {x_part(2 * hidden)};
        Columns of_h[1] = {h_part(2 * hidden)};
        pack_backward(rz, both, gates(), threads);
        pack_backward(nx, of_x, candidate(), threads);
        pack_backward(nh, of_h, candidate(), threads);
        long gate_size = gates().panels() * rows * PANEL, size = candidate().panels() * rows * PANEL;
        Scratch<G> all(gate_size + 2 * size);
        std::memset((void*)all.data, 0, (gate_size + 2 * size) * sizeof(G));
        PerThread<G> local(threads, most * 4 * padded());
        PerThread<float> states(threads, most * 2 * padded());
        over_rows(B, threads, [&](long first, long last) {
            long block = (last - first) * padded();
            G* a = local.mine();
            Back back{a, a + 2 * block, a + 3 * block, all.data, all.data + gate_size,
                      all.data + gate_size + size, states.mine(), states.mine() + block};
            clear(back.h, block);
            for (long t = T - 1; t >= 0; t--)
                step_back(g, first, last - first, t, back, rz, nx, nh);
            for (long i = 0; g.h0 && i < last - first; i++)
                std::memcpy(g.h0 + (first + i) * hidden, back.h + i * padded(),
                            hidden * sizeof(float));
        });
        G *all_n = all.data + gate_size, *all_inner = all_n + size;
        Columns both_grad[2] = {h_part(0, g.on_h), x_part(0, g.on_x)};
        weight_gradients(rows, operands, stride(), both_grad, gates(), all.data, g.bias, threads);
        float* bias_n = g.bias ? g.bias + 2 * hidden : nullptr;
        Columns n_x[1] = {x_part(2 * hidden, g.on_x)}, n_h[1] = {h_part(2 * hidden, g.on_h)};
        weight_gradients(rows, operands + at_x(), stride(), n_x, candidate(), all_n, bias_n,
                         threads);
        weight_gradients(rows, operands + (before ? at_reset() : 0), stride(), n_h, candidate(),
                         before ? all_n : all_inner, (float*)nullptr, threads);
    }
    void step_back(const Grads& g, long first, long rows, long t, const Back& back,
                   const Packed<G>& rz, const Packed<G>& nx, const Packed<G>& nh) const {
        for (long i = 0; i < rows; i++)
            for (long unit = 0; unit < hidden; unit += LANES) split(g, first, i, t, back, unit);
        auto to_x = [&](long i, long vector, auto& tile) {
            for (long k = 0; k < count(tile); k++) add_to_x(g, first + i, t, vector + k, tile[k], false);
        };
        if (g.x) product<G>(rows, back.n, padded(), nx, to_x);
        auto to_h = [&](long i, long vector, auto& tile) {
            for (long k = 0; k < count(tile); k++) {
                float* to = (before ? back.reset : back.h) + i * padded() + (vector + k) * LANES;
                store(to, before ? tile[k] : load(to) + tile[k]);
            }
        };
        product<G>(rows, before ? back.n : back.inner, padded(), nh, to_h);
        for (long i = 0; before && i < rows; i++)
            for (long unit = 0; unit < hidden; unit += LANES) unreset(first, i, t, back, unit);
        auto to_both = [&](long i, long vector, auto& tile) {
            for (long k = 0; k < count(tile); k++) {
                long column = (vector + k) * LANES;
                float* to = back.h + i * padded() + column;
                if (column < padded()) store(to, load(to) + tile[k]);
                else add_to_x(g, first + i, t, vector + k - padded() / LANES, tile[k], true);
            }
        };
        product<G>(rows, back.rz, 2 * padded(), rz, to_both);
    }
  private:
    // From dh the gradients before n, z and (reset after) r, and what flows straight to h.
    void split(const Grads& g, long first, long i, long t, const Back& back, long unit) const {
        long b = first + i, at = slot(b, t) + unit, real = hidden - unit;
        float* state = back.h + i * padded() + unit;
        V d = load(state), one = splat(1.f), open = load(z + at), now = load(n + at);
        if (g.h) d += load(g.h + (b * T + t) * hidden + unit, real);
        V share = z_new ? open : one - open, old = past(b, t, unit);
        V dn = d * share * fma(-now, now, one), dz = d * (z_new ? now - old : old - now);
        keep(back.n + i * padded(), back.all_n, b, t, unit / LANES, dn, real);
        keep(back.rz + i * 2 * padded(), back.all_rz, b, t, unit / LANES * 2 + 1,
             dz * open * (one - open), real);
        store(state, d * (one - share));
        if (before) return;
        V reset = load(r + at), dr = dn * load(inner + at);
        keep(back.inner + i * padded(), back.all_inner, b, t, unit / LANES, dn * reset, real);
        keep(back.rz + i * 2 * padded(), back.all_rz, b, t, unit / LANES * 2,
             dr * reset * (one - reset), real);
    }
    // Where the reset comes before: from the gradient of r h those of r and of h.
    void unreset(long first, long i, long t, const Back& back, long unit) const {
        long b = first + i;
        float* state = back.h + i * padded() + unit;
        V d = load(back.reset + i * padded() + unit), reset = load(r + slot(b, t) + unit);
        V dr = d * past(b, t, unit) * reset * (splat(1.f) - reset);
        keep(back.rz + i * 2 * padded(), back.all_rz, b, t, unit / LANES * 2, dr, hidden - unit);
        store(state, fma(d, reset, load(state)));
    }
    void keep(G* here, G* all, long b, long t, long vector, V v, long real) const {
        v = trim(v, real);
        store(here + vector * LANES, v);
        store(panel_at(all, B * T, b * T + t, vector), v);
    }
    void add_to_x(const Grads& g, long b, long t, long vector, V v, bool more) const {
        float* to = g.x + (b * T + t) * width + vector * LANES;
        long real = width - vector * LANES;
        store(to, more ? v + load(to, real) : v, real);
    }
};
