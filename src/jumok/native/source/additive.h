// A decoder that attends before its step (Bahdanau's wiring with an LSTM cell): query W_q h_{t-1},
// weights = softmax(v . tanh(query + keys)), c_t = weights values, and a cell over [y_t; c_t].
#pragma once
#include "scorer.h"

template <class G> struct Additive {
    int threads;
    long B, T;
    const float *x, *h0;
    Columns in[3], ask[1];  // on x, the context, h; the query's on h
    Scorer scorer;
    Memory memory;
    Cell<G> cell;
    G* operands;                 // [B][T][row_stride]: x, context, previous h
    float *h, *context, *query;  // [B][T][hidden], [value_width], [scorer.padded()]

    long wide() const { return total(in); }
    long stride() const { return row_stride<G>(wide()); }
    long at_context() const { return in[0].padded(); }
    long at_h() const { return at_context() + in[1].padded(); }
    Outputs ask_out() const { return {1, scorer.width}; }

    // What a block of rows works with, and its steps; `a` is the operand rows of one step.
    struct Rows {
        const Additive& s;
        long first, rows;
        int32_t *list, *counts;
        float* exponentials;  // [rows][S][padded]
        bool* large;
        long real_bytes() const { return s.memory.S * s.scorer.padded(); }
        void prepare() {
            for (long r = 0; r < rows; r++) {
                long S = s.memory.S, b = first + r;
                Real real = real_positions(s.memory, b, list + r * S);
                counts[r] = (int32_t)real.n;
                large[r] = prepare_keys(s.scorer, s.memory.key(b, 0), real,
                                        exponentials + r * real_bytes()).large;
            }
        }
        Keys keys(long r) const {
            Real real{counts[r], list + r * s.memory.S};
            return {s.memory.key(first + r, 0), exponentials + r * real_bytes(), large[r], real};
        }
    };

    void forward() const {
        Packed<G> w(cell.out().vectors(), wide()), wq(ask_out().vectors(), in[2].padded());
        pack_forward(w, in, cell.out(), threads);
        pack_forward(wq, ask, ask_out(), threads);
        long most = most_rows(B, threads), S = memory.S, asked = scorer.padded();
        PerThread<G> local(threads, most * wide());
        PerThread<float> floats(threads, most * S * asked + asked + in[1].padded() + S + LANES);
        PerThread<int32_t> lists(threads, most * (S + 1));
        PerThread<bool> flags(threads, most);
        over_rows(B, threads, [&](long first, long last) {
            int32_t* list = lists.mine();
            Rows block{*this, first, last - first, list, list + (last - first) * S,
                       floats.mine(), flags.mine()};
            block.prepare();
            for (long t = 0; t < T; t++) step(block, t, w, wq, local.mine(), most);
        });
    }
    void step(const Rows& block, long t, const Packed<G>& w, const Packed<G>& wq, G* a,
              long most) const {
        long S = memory.S, first = block.first, values = memory.value_width;
        float* room = block.exponentials + most * block.real_bytes();
        float *c = room + scorer.padded(), *scores = c + in[1].padded();
        for (long r = 0; r < block.rows; r++) fetch(first + r, t, a + r * wide());
        auto asked = [&](long r, long vector, auto& tile) {
            for (long n = 0; n < count(tile); n++)
                store(query_of(first + r, t) + (vector + n) * LANES, tile[n]);
        };
        product<G>(block.rows, a + at_h(), wide(), wq, asked);
        for (long r = 0; r < block.rows; r++) {
            long b = first + r, at = b * T + t;
            Keys keys = block.keys(r);
            score(scorer, keys, query_of(b, t), room, scores);
            softmax(scores, keys.real.n);
            spread(memory.weights + at * S, scores, keys.real, S);
            weighted_sum(c, scores, memory.value(b, 0), keys.real, values, false);
            place(operands + at * stride() + at_context(), a + r * wide() + at_context(), c,
                  values);
            std::memcpy(context + at * values, c, values * sizeof(float));
        }
        auto emit = [&](long r, long unit, V state) {
            long at = (first + r) * T + t;
            store(h + at * cell.hidden + unit, state, cell.hidden - unit);
            if (t + 1 < T) store(operands + (at + 1) * stride() + at_h() + unit, state);
        };
        cell.forward(first, block.rows, t, a, w, wide(), emit);
    }

    struct Grads {
        const float *h, *context, *weights, *c_last;  // from outside; all may be absent
        float *x, *h0, *c0, *bias, *keys, *values, *v;
    };
    // A block's room on the way back.
    struct Back {
        G *gates, *ask;
        float *h, *c, *context, *weights, *scores, *room, *query, *shares;
    };

    void backward(const Grads& g) const {
        Outputs gates = cell.out();
        long S = memory.S, near = up(S, LANES), asked = scorer.padded(), padded = cell.padded();
        long skip = g.x ? 0 : at_context(), values = in[1].padded();
        Packed<G> w((wide() - skip) / LANES, gates.width()), wq(padded / LANES, asked);
        if (g.x) pack_backward(w, in, gates, threads);
        else {
            Columns some[2] = {in[1], in[2]};
            pack_backward(w, some, gates, threads);
        }
        pack_backward(wq, ask, ask_out(), threads);
        Scratch<G> all(gates.panels() * B * T * PANEL), all_q(ask_out().panels() * B * T * PANEL);
        std::memset((void*)all_q.data, 0, ask_out().panels() * B * T * PANEL * sizeof(G));
        Scratch<float> totals(B * asked);
        clear(totals.data, B * asked);
        long most = most_rows(B, threads);
        long each = 2 * padded + T * (values + 2 * near) + 2 * S * asked;
        PerThread<G> local(threads, most * (gates.width() + asked));
        PerThread<float> floats(threads, most * each + 2 * asked);
        PerThread<int32_t> lists(threads, most * (S + 1));
        PerThread<bool> flags(threads, most);
        over_rows(B, threads, [&](long first, long last) {
            long rows = last - first;
            int32_t* list = lists.mine();
            float* f = floats.mine();
            Rows block{*this, first, rows, list, list + rows * S, f, flags.mine()};
            Back back{};
            back.gates = local.mine();
            back.ask = back.gates + rows * gates.width();
            float** places[] = {&back.shares, &back.h, &back.c, &back.context, &back.weights,
                                &back.scores, &back.room, &back.query};
            long sizes[] = {rows * S * asked, rows * padded, rows * padded, rows * T * values,
                            rows * T * near, rows * T * near, asked, asked};
            f += rows * S * asked;
            for (int i = 0; i < 8; f += sizes[i++]) *places[i] = f;
            block.prepare();
            clear(back.shares, rows * S * asked);
            clear(back.h, rows * padded);
            clear(back.c, rows * padded);
            for (long r = 0; r < rows && g.c_last; r++)
                std::memcpy(back.c + r * padded, g.c_last + (first + r) * cell.hidden,
                            cell.hidden * sizeof(float));
            for (long t = T - 1; t >= 0; t--)
                step_back(g, block, back, t, w, wq, all.data, all_q.data, totals.data, skip);
            for (long r = 0; r < rows; r++) finish(g, block, back, r);
        });
        long n = B * T;
        weight_gradients(n, operands, stride(), in, gates, all.data, g.bias, threads);
        weight_gradients(n, operands + at_h(), stride(), ask, ask_out(), all_q.data,
                         (float*)nullptr, threads);
        if (g.v) sum_totals(scorer, totals.data, B, g.v);
    }
    void step_back(const Grads& g, const Rows& block, const Back& back, long t,
                   const Packed<G>& w, const Packed<G>& wq, G* all, G* all_q, float* totals,
                   long skip) const {
        long first = block.first, padded = cell.padded(), values = in[1].padded();
        long width = cell.out().width(), asked = scorer.padded();
        for (long r = 0; r < block.rows; r++)
            for (long unit = 0; unit < cell.hidden; unit += LANES) {
                long at = ((first + r) * T + t) * cell.hidden + unit, n = cell.hidden - unit;
                float* dh = back.h + r * padded;
                if (g.h) store(dh + unit, load(dh + unit) + load(g.h + at, n));
                Cell<G>::back(cell, first + r, t, dh, back.c + r * padded,
                              back.gates + r * width, all, unit);
            }
        auto emit = [&](long r, long vector, auto& tile) {
            for (long n = 0; n < count(tile); n++) {
                long k = (vector + n) * LANES + skip, at = (first + r) * T + t;
                long c = k - at_context(), real = memory.value_width - c;
                if (k >= at_h()) store(back.h + r * padded + k - at_h(), tile[n]);
                else if (c < 0) store(g.x + at * in[0].width + k, tile[n], in[0].width - k);
                else store(back.context + (r * T + t) * values + c, !g.context ? tile[n] :
                           tile[n] + load(g.context + at * memory.value_width + c, real));
            }
        };
        product<G>(block.rows, back.gates, width, w, emit);
        for (long r = 0; r < block.rows; r++)
            attention_back(g, block, back, r, t, all_q, totals);
        auto more = [&](long r, long vector, auto& tile) {
            for (long n = 0; n < count(tile); n++) {
                float* dh = back.h + r * padded + (vector + n) * LANES;
                store(dh, load(dh) + tile[n]);
            }
        };
        product<G>(block.rows, back.ask, asked, wq, more);
    }
    void attention_back(const Grads& g, const Rows& block, const Back& back, long r, long t,
                        G* all_q, float* totals) const {
        long b = block.first + r, at = b * T + t, S = memory.S, near = up(S, LANES);
        long asked = scorer.padded();
        Keys keys = block.keys(r);
        float *weights = back.weights + (r * T + t) * near, *scores = back.scores;
        gather(weights, memory.weights + at * S, keys.real);
        scores_back(scores, weights, back.context + (r * T + t) * in[1].padded(),
                    g.weights ? g.weights + at * S : nullptr, memory, b, keys.real);
        score_back(scorer, keys, query_of(b, t), back.room, scores, back.query,
                   back.shares + r * S * asked, totals + b * asked);
        for (long k = 0; k < asked; k += LANES) {
            store(back.ask + r * asked + k, load(back.query + k));
            store(panel_at(all_q, B * T, at, k / LANES), load(back.query + k));
        }
    }
    void finish(const Grads& g, const Rows& block, const Back& back, long r) const {
        long b = block.first + r, S = memory.S, near = up(S, LANES), hidden = cell.hidden;
        long values = in[1].padded(), asked = scorer.padded();
        Real real = block.keys(r).real;
        if (g.values)
            sum_over_time(g.values + b * S * memory.value_width, back.weights + r * T * near,
                          near, back.context + r * T * values, values, T, real, S,
                          memory.value_width);
        if (g.keys)
            finish_keys(scorer, real, back.shares + r * S * asked, g.keys + b * S * scorer.width,
                        S);
        size_t bytes = hidden * sizeof(float);
        if (g.h0) std::memcpy(g.h0 + b * hidden, back.h + r * cell.padded(), bytes);
        if (g.c0) std::memcpy(g.c0 + b * hidden, back.c + r * cell.padded(), bytes);
    }
  private:
    float* query_of(long b, long t) const { return query + (b * T + t) * scorer.padded(); }
    void fetch(long b, long t, G* mine) const {
        G* row = operands + (b * T + t) * stride();
        place(row, mine, x + (b * T + t) * in[0].width, in[0].width);
        if (t) copy(mine + at_h(), row + at_h(), in[2].padded());
        else place(row + at_h(), mine + at_h(), h0 ? h0 + b * cell.hidden : nullptr, cell.hidden);
    }
};
