// An LSTM over a sequence, and the way back through it; gates in torch's order i, f, g, o.
#pragma once
#include "cell.h"

template <class G> struct Lstm {
    typedef G Operand;
    int threads;
    long B, T;
    const float *x, *bias, *h0, *c0;  // x [B][T][on_x.width]; the others may be absent
    Columns on_x, on_h;
    float *h, *c;  // [B][T][hidden]
    G *gates;      // [B][T][4 padded]
    G *operands;   // [B][T][row_stride]: x and the previous h of every step

    long hidden() const { return on_h.width; }
    long padded() const { return on_h.padded(); }
    long at_h() const { return on_x.padded(); }
    long wide() const { return at_h() + padded(); }
    long stride() const { return row_stride<G>(wide()); }
    Outputs out() const { return {4, hidden()}; }
    // The state that step t starts from; absent: zeros.
    const float* past(long b, long t) const { return previous(h, h0, b, t); }
    const float* previous(const float* all, const float* first, long b, long t) const {
        if (t) return all + (b * T + t - 1) * hidden();
        return first ? first + b * hidden() : nullptr;
    }
    V past_c(long b, long t, long unit) const {
        const float* from = previous(c, c0, b, t);
        return from ? load(from + unit, hidden() - unit) : (V){};
    }

    struct Forward {
        const Lstm& s;
        Packed<G> w;
        explicit Forward(const Lstm& lstm) : s(lstm), w(s.out().vectors(), s.wide()) {
            Columns in[2] = {s.on_x, s.on_h};
            pack_forward(w, in, s.out(), s.threads);
        }
        long operands() const { return s.wide(); }
        void step(const Block<G>& block, long t) const {
            for (long r = 0; r < block.rows; r++) {
                long b = block.first + r;
                G *row = s.operands + (b * s.T + t) * s.stride();
                G *mine = block.operands + r * s.wide();
                place(row, mine, s.x + (b * s.T + t) * s.on_x.width, s.on_x.width);
                place(row + s.at_h(), mine + s.at_h(), s.past(b, t), s.hidden());
            }
            auto cell = [&](long r, long vector, Tile z) {
                s.cell(block.first + r, t, vector / 4 * LANES, z);
            };
            long steps = t || s.h0 ? -1 : s.at_h() / PER_STEP<G>;  // zeros need no product
            product<G>(block.rows, block.operands, s.wide(), w, cell, steps);
        }
    };
    void cell(long b, long t, long unit, Tile sums) const {
        long n = hidden() - unit, at = b * T + t;
        V z[4];
        for (int k = 0; k < 4; k++)
            z[k] = bias ? sums[k] + load(bias + k * hidden() + unit, n) : sums[k];
        V i = sigmoid<G>(z[0]), f = sigmoid<G>(z[1]), g = tanh<G>(z[2]), o = sigmoid<G>(z[3]);
        V now = fma(f, past_c(b, t, unit), i * g);
        G* kept = gates + (at * padded() + unit) * 4;
        store(kept, i);
        store(kept + LANES, f);
        store(kept + 2 * LANES, g);
        store(kept + 3 * LANES, o);
        store(c + at * hidden() + unit, now, n);
        store(h + at * hidden() + unit, o * tanh<G>(now), n);
    }

    // From outside: of h and c at all times, of the last ones; any may be absent. To be written:
    // unless absent, and the gradients that on_x and on_h hold.
    struct Grads {
        const float *h, *c, *h_last, *c_last;
        float *x, *bias, *h0, *c0;
    };
    struct Backward {
        const Lstm& s;
        Grads g;
        Packed<G> w;
        Scratch<G> all;  // the gradients before the gates, for the weights
        Backward(const Lstm& lstm, const Grads& grads)
            : s(lstm), g(grads), w((before() + s.padded()) / LANES, s.out().width()),
              all(s.out().panels() * s.B * s.T * PANEL) {
            Columns both[2] = {s.on_x, s.on_h}, only[1] = {s.on_h};
            if (g.x) pack_backward(w, both, s.out(), s.threads);
            else pack_backward(w, only, s.out(), s.threads);
        }
        long before() const { return g.x ? s.at_h() : 0; }
        long operands() const { return s.out().width(); }
        long floats() const { return 2 * s.padded(); }
        void start(const Block<G>& block) const {
            clear(block.floats, block.rows * floats());
            for (long r = 0; r < block.rows; r++) {
                long at = (block.first + r) * s.hidden(), bytes = s.hidden() * sizeof(float);
                float *h = block.floats + r * s.padded(), *c = h + block.rows * s.padded();
                if (g.h_last) std::memcpy(h, g.h_last + at, bytes);
                if (g.c_last) std::memcpy(c, g.c_last + at, bytes);
            }
        }
        void step(const Block<G>& block, long t) const {
            for (long r = 0; r < block.rows; r++)
                for (long unit = 0; unit < s.hidden(); unit += LANES) cell(block, r, t, unit);
            if (!t && !g.x && !g.h0) return;
            auto emit = [&](long r, long vector, Tile tile) {
                float *h = block.floats + r * s.padded() - before();
                float *x = g.x + ((block.first + r) * s.T + t) * s.on_x.width;
                for (long n = 0; n < count(tile); n++) {
                    long k = (vector + n) * LANES;
                    if (k >= before()) store(h + k, tile[n]);
                    else store(x + k, tile[n], s.on_x.width - k);
                }
            };
            product<G>(block.rows, block.operands, operands(), w, emit);
        }
        void cell(const Block<G>& block, long r, long t, long unit) const {
            long b = block.first + r, at = b * s.T + t, n = s.hidden() - unit;
            float *dc = block.floats + (block.rows + r) * s.padded() + unit;
            const G* kept = s.gates + (at * s.padded() + unit) * 4;
            V i = load(kept), f = load(kept + LANES), v = load(kept + 2 * LANES);
            V o = load(kept + 3 * LANES), one = splat(1.f);
            V y = tanh<G>(load(s.c + at * s.hidden() + unit, n));
            V d = load(block.floats + r * s.padded() + unit), to_c = load(dc);
            if (g.h) d += load(g.h + at * s.hidden() + unit, n);
            if (g.c) to_c += load(g.c + at * s.hidden() + unit, n);
            V now = fma(d * o, fma(-y, y, one), to_c);
            V dz[4] = {now * v * i * (one - i), now * s.past_c(b, t, unit) * f * (one - f),
                       now * i * fma(-v, v, one), d * y * o * (one - o)};
            G* here = block.operands + r * operands() + unit * 4;
            for (int k = 0; k < 4; k++) {
                V z = trim(dz[k], n);
                store(here + k * LANES, z);
                store(panel_at(all.data, s.B * s.T, at, unit / LANES * 4 + k), z);
            }
            store(dc, trim(now * f, n));
        }
        void finish(const Block<G>& block) const {
            const float* c = block.floats + block.rows * s.padded();
            finish_rows(g.h0, block.floats, block.first, block.rows, s.hidden());
            finish_rows(g.c0, c, block.first, block.rows, s.hidden());
        }
        void weights() const {
            Columns in[2] = {s.on_x, s.on_h};
            weight_gradients(s.B * s.T, s.operands, s.stride(), in, s.out(), all.data, g.bias,
                             s.threads);
        }
    };
};
