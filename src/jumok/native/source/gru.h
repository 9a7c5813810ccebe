// A GRU over a sequence: r, z = sigmoid(..); n = tanh(W_n x + b_n + r (U_n h)) where the reset
// comes after the product, tanh(W_n x + b_n + U_n (r h)) where it comes before;
// h' = (1 - z) n + z h, or with `z_new` h' = (1 - z) h + z n. Rows r, z, n in the weights.
#pragma once
#include "cell.h"

template <class G> struct Gru {
    typedef G Operand;
    int threads;
    bool before, z_new;
    long B, T;
    const float *x, *bias, *h0;  // x [B][T][on_x.width]; bias and h0 may be absent
    Columns on_x, on_h;          // [3 hidden] rows
    float* h;                    // [B][T][hidden]
    float *r, *z, *n, *inner;    // [B][T][padded]; inner: U_n h, where the reset is after
    G* operands;                 // [B][T][row_stride]: h, x and r h
    // Where the step starts from: another layer's states [B][T][hidden], `lag` steps ago.
    const float* source;
    long lag;

    long hidden() const { return on_h.width; }
    long padded() const { return on_h.padded(); }
    long at_h() const { return 0; }
    long at_x() const { return padded(); }
    long at_reset() const { return padded() + on_x.padded(); }
    long wide() const { return at_reset() + padded(); }
    long stride() const { return row_stride<G>(wide()); }
    G* row(long b, long t) const { return operands + (b * T + t) * stride(); }
    long slot(long b, long t) const { return (b * T + t) * padded(); }
    Outputs gates() const { return {2, hidden()}; }
    Outputs candidate() const { return {1, hidden()}; }
    // The rows of r and z (skip 0), or of n (skip 2 hidden), of a weight.
    static Columns part(Columns of, long skip) {
        skip *= of.stride;
        return {of.weight + skip, of.grad ? of.grad + skip : nullptr, of.stride, of.width};
    }
    const float* past(long b, long t) const {
        if (t >= lag) return source + (b * T + t - lag) * hidden();
        return h0 ? h0 + b * hidden() : nullptr;
    }
    V past(long b, long t, long unit) const {
        const float* from = past(b, t);
        return from ? load(from + unit, hidden() - unit) : (V){};
    }
    V bias_at(long gate, long unit) const {
        return bias ? load(bias + gate * hidden() + unit, hidden() - unit) : (V){};
    }

    struct Forward {
        const Gru& s;
        Packed<G> rz, nx, nh;
        explicit Forward(const Gru& gru)
            : s(gru), rz(s.gates().vectors(), s.at_reset()),
              nx(s.candidate().vectors(), s.on_x.padded()), nh(s.candidate().vectors(), s.padded()) {
            Columns both[2] = {s.on_h, s.on_x}, x[1] = {part(s.on_x, 2 * s.hidden())};
            Columns h[1] = {part(s.on_h, 2 * s.hidden())};
            pack_forward(rz, both, s.gates(), s.threads);
            pack_forward(nx, x, s.candidate(), s.threads);
            pack_forward(nh, h, s.candidate(), s.threads);
        }
        long operands() const { return s.wide(); }
        void step(const Block<G>& block, long t) const {
            G* a = block.operands;
            for (long i = 0; i < block.rows; i++) {
                long b = block.first + i, at = (b * s.T + t) * s.on_x.width;
                G *row = s.row(b, t), *mine = a + i * s.wide();
                place(row, mine, s.past(b, t), s.hidden());
                place(row + s.at_x(), mine + s.at_x(), s.x + at, s.on_x.width);
            }
            auto opened = [&](long i, long vector, Tile tile) {
                for (long k = 0; k < count(tile); k++)
                    s.open(block.first + i, t, vector + k, tile[k], a + i * s.wide());
            };
            product<G>(block.rows, a, s.wide(), rz, opened);
            auto from_x = [&](long i, long vector, Tile tile) {
                for (long k = 0; k < count(tile); k++)
                    store(s.n + s.slot(block.first + i, t) + (vector + k) * LANES, tile[k]);
            };
            product<G>(block.rows, a + s.at_x(), s.wide(), nx, from_x);
            auto renewed = [&](long i, long vector, Tile tile) {
                for (long k = 0; k < count(tile); k++)
                    s.renew(block.first + i, t, (vector + k) * LANES, tile[k]);
            };
            product<G>(block.rows, a + (s.before ? s.at_reset() : 0), s.wide(), nh, renewed);
        }
    };
    // A gate of one vector of units: r where `vector` is even, else z.
    void open(long b, long t, long vector, V sum, G* mine) const {
        long gate = vector % 2, unit = vector / 2 * LANES;
        V open = trim(sigmoid<G>(sum + bias_at(gate, unit)), hidden() - unit);
        store((gate ? z : r) + slot(b, t) + unit, open);
        if (gate || !before) return;
        store(mine + at_reset() + unit, open * past(b, t, unit));
        store(row(b, t) + at_reset() + unit, open * past(b, t, unit));
    }
    // n and h' of one vector of units, from U_n times what the reset left of h.
    void renew(long b, long t, long unit, V sum) const {
        long at = slot(b, t) + unit, real = hidden() - unit;
        if (!before) store(inner + at, sum);
        V reset = before ? sum : load(r + at) * sum, old = past(b, t, unit), open = load(z + at);
        V now = trim(tanh<G>(load(n + at) + bias_at(2, unit) + reset), real);
        store(n + at, now);
        V share = z_new ? open : splat(1.f) - open;
        store(h + (b * T + t) * hidden() + unit, fma(share, now - old, old), real);
    }

    struct Grads {
        const float* h;  // from outside; may be absent
        float *x, *bias, *h0;
    };
    struct Backward {
        const Gru& s;
        Grads g;
        Packed<G> rz, nx, nh;
        Scratch<G> all_rz, all_n, all_inner;
        Backward(const Gru& gru, const Grads& grads)
            : s(gru), g(grads), rz((s.padded() + x_wide()) / LANES, s.gates().width()),
              nx(x_wide() / LANES, s.candidate().width()),
              nh(s.padded() / LANES, s.candidate().width()), all_rz(size(s.gates())),
              all_n(size(s.candidate())), all_inner(size(s.candidate())) {
            Columns both[2] = {s.on_h, s.on_x}, x[1] = {part(s.on_x, 2 * s.hidden())};
            Columns h[1] = {part(s.on_h, 2 * s.hidden())};
            pack_backward(rz, both, s.gates(), s.threads);
            pack_backward(nx, x, s.candidate(), s.threads);
            pack_backward(nh, h, s.candidate(), s.threads);
            std::memset((void*)all_rz.data, 0, size(s.gates()) * sizeof(G));
            std::memset((void*)all_n.data, 0, size(s.candidate()) * sizeof(G));
            std::memset((void*)all_inner.data, 0, size(s.candidate()) * sizeof(G));
        }
        long size(Outputs out) const { return out.panels() * s.B * s.T * PANEL; }
        long x_wide() const { return g.x ? s.on_x.padded() : 0; }
        long operands() const { return 4 * s.padded(); }  // of r and z, of n, of inner
        long floats() const { return 2 * s.padded(); }    // of h, of r h
        G* rz_of(const Block<G>& block, long i) const {
            return block.operands + i * 2 * s.padded();
        }
        G* n_of(const Block<G>& block, long i) const {
            return block.operands + (2 * block.rows + i) * s.padded();
        }
        G* inner_of(const Block<G>& block, long i) const {
            return block.operands + (3 * block.rows + i) * s.padded();
        }
        void start(const Block<G>& block) const { clear(block.floats, block.rows * s.padded()); }
        void step(const Block<G>& block, long t) const {
            float* resets = block.floats + block.rows * s.padded();
            for (long i = 0; i < block.rows; i++)
                for (long unit = 0; unit < s.hidden(); unit += LANES) split(block, i, t, unit);
            auto to_x = [&](long i, long vector, Tile tile) {
                for (long k = 0; k < count(tile); k++)
                    add_to_x(block.first + i, t, vector + k, tile[k], false);
            };
            product<G>(block.rows, n_of(block, 0), s.padded(), nx, to_x);
            auto to_h = [&](long i, long vector, Tile tile) {
                for (long k = 0; k < count(tile); k++) {
                    long at = i * s.padded() + (vector + k) * LANES;
                    if (s.before) store(resets + at, tile[k]);
                    else store(block.floats + at, load(block.floats + at) + tile[k]);
                }
            };
            G* from = s.before ? n_of(block, 0) : inner_of(block, 0);
            product<G>(block.rows, from, s.padded(), nh, to_h);
            for (long i = 0; s.before && i < block.rows; i++)
                for (long unit = 0; unit < s.hidden(); unit += LANES) unreset(block, i, t, unit);
            auto to_both = [&](long i, long vector, Tile tile) {
                for (long k = 0; k < count(tile); k++) {
                    long past_h = vector + k - s.padded() / LANES;
                    float* h = block.floats + i * s.padded() + (vector + k) * LANES;
                    if (past_h < 0) store(h, load(h) + tile[k]);
                    else add_to_x(block.first + i, t, past_h, tile[k], true);
                }
            };
            product<G>(block.rows, rz_of(block, 0), 2 * s.padded(), rz, to_both);
        }
        // From dh the gradients before n, z and (reset after) r, and what flows straight to h.
        void split(const Block<G>& block, long i, long t, long unit) const {
            long b = block.first + i, at = s.slot(b, t) + unit, real = s.hidden() - unit;
            float* state = block.floats + i * s.padded() + unit;
            V d = load(state), one = splat(1.f), open = load(s.z + at), now = load(s.n + at);
            if (g.h) d += load(g.h + (b * s.T + t) * s.hidden() + unit, real);
            V share = s.z_new ? open : one - open, old = s.past(b, t, unit);
            V dn = d * share * fma(-now, now, one), dz = d * (s.z_new ? now - old : old - now);
            keep(n_of(block, i), all_n.data, b, t, unit / LANES, dn);
            keep(rz_of(block, i), all_rz.data, b, t, unit / LANES * 2 + 1, dz * open * (one - open));
            store(state, trim(d * (one - share), real));
            if (s.before) return;
            V reset = load(s.r + at), dr = dn * load(s.inner + at) * reset * (one - reset);
            keep(inner_of(block, i), all_inner.data, b, t, unit / LANES, dn * reset);
            keep(rz_of(block, i), all_rz.data, b, t, unit / LANES * 2, dr);
        }
        // Where the reset comes before: from the gradient of r h those of r and of h.
        void unreset(const Block<G>& block, long i, long t, long unit) const {
            long b = block.first + i;
            float *state = block.floats + i * s.padded() + unit;
            V d = load(state + block.rows * s.padded()), reset = load(s.r + s.slot(b, t) + unit);
            V dr = d * s.past(b, t, unit) * reset * (splat(1.f) - reset);
            keep(rz_of(block, i), all_rz.data, b, t, unit / LANES * 2, dr);
            store(state, fma(d, reset, load(state)));
        }
        void keep(G* here, G* all, long b, long t, long vector, V v) const {
            long unit = (all == all_rz.data ? vector / 2 : vector) * LANES;
            v = trim(v, s.hidden() - unit);
            store(here + vector * LANES, v);
            store(panel_at(all, s.B * s.T, b * s.T + t, vector), v);
        }
        void add_to_x(long b, long t, long vector, V v, bool more) const {
            long real = s.on_x.width - vector * LANES;
            float* to = g.x + (b * s.T + t) * s.on_x.width + vector * LANES;
            store(to, more ? v + load(to, real) : v, real);
        }
        void finish(const Block<G>& block) const {
            finish_rows(g.h0, block.floats, block.first, block.rows, s.hidden());
        }
        void weights() const {
            long rows = s.B * s.T, skip = 2 * s.hidden();
            Columns both[2] = {s.on_h, s.on_x};
            Columns x[1] = {part(s.on_x, skip)}, h[1] = {part(s.on_h, skip)};
            float* bias_n = g.bias ? g.bias + skip : nullptr;
            weight_gradients(rows, s.operands, s.stride(), both, s.gates(), all_rz.data, g.bias,
                             s.threads);
            weight_gradients(rows, s.operands + s.at_x(), s.stride(), x, s.candidate(),
                             all_n.data, bias_n, s.threads);
            weight_gradients(rows, s.operands + (s.before ? s.at_reset() : 0), s.stride(), h,
                             s.candidate(), s.before ? all_n.data : all_inner.data,
                             (float*)nullptr, s.threads);
        }
    };
};
