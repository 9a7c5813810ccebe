// A one-layer LSTM decoder with input feeding and attention by dot product (Luong 2015, 3.3):
// gates from [y_t; h~_{t-1}] and h_{t-1}; weights = softmax(keys h_t); c_t = weights values;
// h~_t = tanh(W_c [c_t; h_t] + b_c). What is fed back is first multiplied by a mask, if any.
#pragma once
#include "attention.h"
#include "lstm.h"

template <class G> struct Luong {
    const Lstm<G>& core;  // reads [y; fed h~]
    long fed;             // the width of h~
    const float *y, *feed0, *feed_mask;  // [B][T][..], [B][fed], [B][T][fed]; may be absent
    Columns join[2];                     // on the context and h
    const float* join_bias;
    Memory memory;
    float *reading, *out;  // core.x, to be filled here; h~ [B][T][fed]
    G* joined;             // [B][T][row_stride]: context, h

    long y_width() const { return core.on_x.width - fed; }
    long context() const { return join[0].padded(); }
    long pair() const { return total(join); }
    long stride() const { return row_stride<G>(pair()); }
    Outputs join_out() const { return {1, fed}; }
    G* joined_at(long b, long t) const { return joined + (b * core.T + t) * stride(); }
    const float* state(long b, long t) const { return core.h + (b * core.T + t) * core.hidden(); }
    V masked(long at, long k, V v) const {
        return feed_mask ? v * load(feed_mask + at * fed + k, fed - k) : v;
    }

    void forward() const {
        long most = most_rows(core.B, core.threads), S = memory.S;
        typename Lstm<G>::Forward step(core);
        Packed<G> w(join_out().vectors(), pair());
        pack_forward(w, join, join_out(), core.threads);
        PerThread<G> local(core.threads, most * (step.operands() + pair()));
        PerThread<float> floats(core.threads, context() + S + LANES);
        PerThread<int32_t> lists(core.threads, Positions::room(most, S));
        over_rows(core.B, core.threads, [&](long first, long last) {
            Block<G> block{first, last - first, local.mine(), floats.mine()};
            G* j = block.operands + block.rows * step.operands();
            Positions positions(memory, first, block.rows, lists.mine());
            for (long t = 0; t < core.T; t++) {
                for (long r = 0; r < block.rows; r++) feed(first + r, t);
                step.step(block, t);
                for (long r = 0; r < block.rows; r++)
                    attend(first + r, t, positions[r], block.floats, j + r * pair());
                auto finish = [&](long r, long vector, Tile z) {
                    for (long n = 0; n < count(z); n++) {
                        long k = (vector + n) * LANES, at = (first + r) * core.T + t;
                        V sum = join_bias ? z[n] + load(join_bias + k, fed - k) : z[n];
                        store(out + at * fed + k, tanh<G>(sum), fed - k);
                    }
                };
                product<G>(block.rows, j, pair(), w, finish);
            }
        });
    }
    void feed(long b, long t) const {
        long at = b * core.T + t;
        float* read = reading + at * core.on_x.width;
        std::memcpy(read, y + at * y_width(), y_width() * sizeof(float));
        const float* from = t ? out + (at - 1) * fed : feed0 ? feed0 + b * fed : nullptr;
        for (long k = 0; k < fed; k += LANES) {
            V v = from ? load(from + k, fed - k) : (V){};
            store(read + y_width() + k, masked(at, k, v), fed - k);
        }
    }
    void attend(long b, long t, Real real, float* c, G* mine) const {
        float *scores = c + context(), *row = memory.weights + (b * core.T + t) * memory.S;
        for (long j = 0; j < real.n; j++)
            scores[j] = dot(state(b, t), memory.key(b, real.at[j]), core.hidden());
        softmax(scores, real.n);
        spread(row, scores, real, memory.S);
        weighted_sum(c, scores, memory.value(b, 0), real, memory.value_width, false);
        place(joined_at(b, t), mine, c, memory.value_width);
        place(joined_at(b, t) + context(), mine + context(), state(b, t), core.hidden());
    }

    struct Grads {
        const float *out, *weights;  // from outside; may be absent
        float *y, *feed0, *join_bias, *keys, *values;
    };
    // A block's room on the way back: per row, and per row and time.
    struct Room {
        float *from_join, *context, *weights, *scores, *states;
    };
    void backward(const Grads& g, typename Lstm<G>::Grads core_grads) const {
        long most = most_rows(core.B, core.threads), S = memory.S, near = up(S, LANES);
        long T = core.T, width = join_out().width(), padded = core.padded();
        Scratch<float> dreading(core.B * T * core.on_x.width);
        core_grads.x = dreading.data;
        typename Lstm<G>::Backward step(core, core_grads);
        Packed<G> w(pair() / LANES, width);
        pack_backward(w, join, join_out(), core.threads);
        long all_size = join_out().panels() * core.B * T * PANEL;
        Scratch<G> all(all_size);
        std::memset((void*)all.data, 0, all_size * sizeof(G));
        PerThread<G> local(core.threads, most * (step.operands() + width));
        long each = step.floats() + padded + T * (context() + 2 * near);
        PerThread<float> floats(core.threads, most * each + T * padded);
        PerThread<int32_t> lists(core.threads, Positions::room(most, S));
        over_rows(core.B, core.threads, [&](long first, long last) {
            long rows = last - first;
            Block<G> block{first, rows, local.mine(), floats.mine()};
            G* z = block.operands + rows * step.operands();
            Positions positions(memory, first, rows, lists.mine());
            Room room;
            room.from_join = block.floats + rows * step.floats();
            room.context = room.from_join + rows * padded;
            room.weights = room.context + rows * T * context();
            room.scores = room.weights + rows * T * near;
            room.states = room.scores + rows * T * near;
            step.start(block);
            for (long t = T - 1; t >= 0; t--) {
                for (long r = 0; r < rows; r++)
                    tanh_back(first + r, t, g.out, dreading.data, z + r * width, all.data);
                auto split = [&](long r, long vector, Tile tile) {
                    for (long n = 0; n < count(tile); n++) {
                        long k = (vector + n) * LANES;
                        if (k < context()) store(room.context + (r * T + t) * context() + k, tile[n]);
                        else store(room.from_join + r * padded + k - context(), tile[n]);
                    }
                };
                product<G>(rows, z, width, w, split);
                for (long r = 0; r < rows; r++)
                    attend_back(g, positions[r], room, block.floats + r * padded, first + r, r, t);
                step.step(block, t);
            }
            step.finish(block);
            for (long r = 0; r < rows; r++) finish(g, positions[r], room, first + r, r);
        });
        outside(g, dreading.data);
        step.weights();
        weight_gradients(core.B * T, joined, stride(), join, join_out(), all.data, g.join_bias,
                         core.threads);
    }
    // What step t + 1 returns through input feeding; zero after the last.
    V fed_back(const float* dreading, long b, long t, long k) const {
        if (t + 1 >= core.T) return (V){};
        long at = b * core.T + t + 1;
        return masked(at, k, load(dreading + at * core.on_x.width + y_width() + k, fed - k));
    }
    void tanh_back(long b, long t, const float* dout, const float* dreading, G* z, G* all) const {
        long at = b * core.T + t;
        for (long k = 0; k < fed; k += LANES) {
            V h = load(out + at * fed + k, fed - k), d = fed_back(dreading, b, t, k);
            if (dout) d += load(dout + at * fed + k, fed - k);
            V v = trim(d * fma(-h, h, splat(1.f)), fed - k);
            store(z + k, v);
            store(panel_at(all, core.B * core.T, at, k / LANES), v);
        }
    }
    void attend_back(const Grads& g, Real real, const Room& room, float* dh, long b, long r,
                     long t) const {
        long at = b * core.T + t, S = memory.S, near = up(S, LANES), slot = r * core.T + t;
        float *weights = room.weights + slot * near, *scores = room.scores + slot * near;
        gather(weights, memory.weights + at * S, real);
        scores_back(scores, weights, room.context + slot * context(),
                    g.weights ? g.weights + at * S : nullptr, memory, b, real);
        for (long k = 0; k < core.padded(); k += LANES)
            store(dh + k, load(dh + k) + load(room.from_join + r * core.padded() + k));
        weighted_sum(dh, scores, memory.key(b, 0), real, core.hidden(), true);
    }
    void finish(const Grads& g, Real real, const Room& room, long b, long r) const {
        long S = memory.S, near = up(S, LANES), T = core.T, hidden = core.hidden();
        if (g.values)
            sum_over_time(g.values + b * S * memory.value_width, room.weights + r * T * near, near,
                          room.context + r * T * context(), context(), T, real, S,
                          memory.value_width);
        for (long t = 0; t < T; t++) place(room.states + t * core.padded(), state(b, t), hidden);
        if (g.keys)
            sum_over_time(g.keys + b * S * hidden, room.scores + r * T * near, near, room.states,
                          core.padded(), T, real, S, hidden);
    }
    void outside(const Grads& g, const float* dreading) const {
        for (long i = 0; g.y && i < core.B * core.T; i++)
            std::memcpy(g.y + i * y_width(), dreading + i * core.on_x.width,
                        y_width() * sizeof(float));
        for (long b = 0; g.feed0 && b < core.B; b++)
            for (long k = 0; k < fed; k += LANES)
                store(g.feed0 + b * fed + k, fed_back(dreading, b, -1, k), fed - k);
    }
};
