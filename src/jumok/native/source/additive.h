// A decoder that attends before its step (Bahdanau): query W_q s, weights = softmax(v . tanh(
// query + keys)), context = weights values, and a recurrence that reads it. The state s that
// asks is the one that this recurrence starts from: its own previous one, or that of another
// recurrence which steps before it at every time (dl4mt's conditional GRU).
#pragma once
#include <memory>

#include "scorer.h"

template <class Core> struct Additive {
    typedef typename Core::Operand G;
    const Core& core;    // reads [y; context], or the context alone
    const Core* before;  // may be absent
    Columns ask;         // W_q
    Scorer scorer;
    Memory memory;
    const float *y;  // [B][T][core.on_x.width - value_width]
    float *reading;  // core.x, to be filled here
    float *context, *query;  // [B][T][value_width], [B][T][scorer.padded()]

    long y_width() const { return core.on_x.width - memory.value_width; }
    Outputs asked() const { return {1, scorer.width}; }
    float* query_at(long b, long t) const { return query + (b * core.T + t) * scorer.padded(); }
    float* read_at(float* all, long b, long t) const {
        return all + (b * core.T + t) * core.on_x.width;
    }

    // One block's keys, ready for scoring.
    struct Ready {
        const Additive& s;
        long first;
        Positions positions;
        float* exponentials;  // [rows][S][padded]
        bool* large;
        long each() const { return s.memory.S * s.scorer.padded(); }
        Ready(const Additive& a, long first_, long rows, int32_t* list, float* room, bool* flags)
            : s(a), first(first_), positions(a.memory, first_, rows, list), exponentials(room),
              large(flags) {
            for (long r = 0; r < rows; r++)
                large[r] = prepare_keys(s.scorer, s.memory.key(first + r, 0), positions[r],
                                        exponentials + r * each()).large;
        }
        Keys operator[](long r) const {
            return {s.memory.key(first + r, 0), exponentials + r * each(), large[r], positions[r]};
        }
    };

    void forward() const {
        long most = most_rows(core.B, core.threads), S = memory.S;
        typename Core::Forward step(core);
        std::unique_ptr<typename Core::Forward> earlier;
        if (before) earlier.reset(new typename Core::Forward(*before));
        Packed<G> wq(asked().vectors(), ask.padded());
        Columns in[1] = {ask};
        pack_forward(wq, in, asked(), core.threads);
        long width = earlier ? earlier->operands() : 0;
        PerThread<G> local(core.threads, most * (step.operands() > width ? step.operands() : width));
        long room = scorer.padded() + up(memory.value_width, LANES) + S + LANES;
        PerThread<float> floats(core.threads, most * S * scorer.padded() + room);
        PerThread<int32_t> lists(core.threads, Positions::room(most, S));
        PerThread<bool> flags(core.threads, most);
        over_rows(core.B, core.threads, [&](long first, long last) {
            Block<G> block{first, last - first, local.mine(), nullptr};
            Ready ready(*this, first, block.rows, lists.mine(), floats.mine(), flags.mine());
            float* rest = floats.mine() + block.rows * ready.each();
            for (long t = 0; t < core.T; t++) {
                if (earlier) earlier->step(block, t);
                pose(block, t, wq);
                for (long r = 0; r < block.rows; r++) attend(first + r, t, ready[r], rest);
                step.step(block, t);
            }
        });
    }
    void pose(const Block<G>& block, long t, const Packed<G>& wq) const {
        for (long r = 0; r < block.rows; r++)
            place(block.operands + r * ask.padded(), core.past(block.first + r, t), ask.width);
        auto emit = [&](long r, long vector, Tile tile) {
            for (long n = 0; n < count(tile); n++)
                store(query_at(block.first + r, t) + (vector + n) * LANES, tile[n]);
        };
        product<G>(block.rows, block.operands, ask.padded(), wq, emit);
    }
    void attend(long b, long t, const Keys& keys, float* room) const {
        long values = memory.value_width, at = b * core.T + t;
        float *c = room + scorer.padded(), *scores = c + up(values, LANES);
        score(scorer, keys, query_at(b, t), room, scores);
        softmax(scores, keys.real.n);
        spread(memory.weights + at * memory.S, scores, keys.real, memory.S);
        weighted_sum(c, scores, memory.value(b, 0), keys.real, values, false);
        float* read = read_at(reading, b, t);
        std::memcpy(read, y + at * y_width(), y_width() * sizeof(float));
        std::memcpy(read + y_width(), c, values * sizeof(float));
        std::memcpy(context + at * values, c, values * sizeof(float));
    }

    struct Grads {
        const float *context, *weights;  // from outside; may be absent
        float *y, *keys, *values, *v;    // y only where nothing steps before
    };
    // A block's room on the way back: all but `shares` per time as well.
    struct Room {
        float *shares, *context, *weights, *scores, *exponentials, *query;
    };
    void backward(const Grads& g, typename Core::Grads core_grads,
                  const typename Core::Grads& before_grads) const {
        long most = most_rows(core.B, core.threads), S = memory.S, near = up(S, LANES), T = core.T;
        long asks = scorer.padded(), values = up(memory.value_width, LANES);
        Scratch<float> dreading(core.B * T * core.on_x.width), totals(core.B * asks);
        core_grads.x = dreading.data;
        typename Core::Backward step(core, core_grads);
        std::unique_ptr<typename Core::Backward> earlier;
        if (before) earlier.reset(new typename Core::Backward(*before, before_grads));
        Packed<G> wq(ask.padded() / LANES, asks);
        Columns in[1] = {ask};
        pack_backward(wq, in, asked(), core.threads);
        long all_size = asked().panels() * core.B * T * PANEL;
        Scratch<G> all(all_size);
        std::memset((void*)all.data, 0, all_size * sizeof(G));
        clear(totals.data, core.B * asks);
        PerThread<G> local(core.threads, most * (step.operands() + asks));
        long each = step.floats() + 2 * S * asks + T * (values + near);
        PerThread<float> floats(core.threads, most * each + near + 2 * asks);
        PerThread<int32_t> lists(core.threads, Positions::room(most, S));
        PerThread<bool> flags(core.threads, most);
        over_rows(core.B, core.threads, [&](long first, long last) {
            long rows = last - first;
            Block<G> block{first, rows, local.mine(), floats.mine()};
            float* f = block.floats + rows * step.floats();
            Ready ready(*this, first, rows, lists.mine(), f, flags.mine());
            Room room;
            room.shares = f + rows * S * asks;
            room.context = room.shares + rows * S * asks;
            room.weights = room.context + rows * T * values;
            room.scores = room.weights + rows * T * near;
            room.exponentials = room.scores + near;
            room.query = room.exponentials + asks;
            clear(room.shares, rows * S * asks);
            G* posed = block.operands + rows * step.operands();
            step.start(block);
            for (long t = T - 1; t >= 0; t--) {
                step.step(block, t);
                for (long r = 0; r < rows; r++)
                    attend_back(g, ready[r], room, first + r, r, t, dreading.data,
                                posed + r * asks, all.data, totals.data);
                auto more = [&](long r, long vector, Tile tile) {
                    for (long n = 0; n < count(tile); n++) {
                        float* dh = block.floats + r * ask.padded() + (vector + n) * LANES;
                        store(dh, load(dh) + tile[n]);
                    }
                };
                product<G>(rows, posed, asks, wq, more);
                if (earlier) earlier->step(block, t);
            }
            step.finish(block);
            if (earlier) earlier->finish(block);
            for (long r = 0; r < rows; r++) finish(g, ready.positions[r], room, first + r, r);
        });
        if (g.y)
            for (long i = 0; i < core.B * T; i++)
                std::memcpy(g.y + i * y_width(), dreading.data + i * core.on_x.width,
                            y_width() * sizeof(float));
        step.weights();
        if (earlier) earlier->weights();
        weight_gradients(core.B * T, core.operands + core.at_h(), core.stride(), in, asked(),
                         all.data, (float*)nullptr, core.threads);
        if (g.v) sum_totals(scorer, totals.data, core.B, g.v);
    }
    void attend_back(const Grads& g, const Keys& keys, const Room& room, long b, long r, long t,
                     float* dreading, G* posed, G* all, float* totals) const {
        long at = b * core.T + t, S = memory.S, asks = scorer.padded();
        long width = memory.value_width;
        float* dcontext = room.context + (r * core.T + t) * up(width, LANES);
        float* weights = room.weights + (r * core.T + t) * up(S, LANES);
        const float* from = read_at(dreading, b, t) + y_width();
        for (long k = 0; k < width; k += LANES) {
            V d = load(from + k, width - k);
            if (g.context) d += load(g.context + at * width + k, width - k);
            store(dcontext + k, d);
        }
        gather(weights, memory.weights + at * S, keys.real);
        scores_back(room.scores, weights, dcontext, g.weights ? g.weights + at * S : nullptr,
                    memory, b, keys.real);
        score_back(scorer, keys, query_at(b, t), room.exponentials, room.scores, room.query,
                   room.shares + r * S * asks, totals + b * asks);
        for (long k = 0; k < asks; k += LANES) {
            store(posed + k, load(room.query + k));
            store(panel_at(all, core.B * core.T, at, k / LANES), load(room.query + k));
        }
    }
    void finish(const Grads& g, Real real, const Room& room, long b, long r) const {
        long S = memory.S, near = up(S, LANES), values = up(memory.value_width, LANES);
        long T = core.T;
        if (g.values)
            sum_over_time(g.values + b * S * memory.value_width, room.weights + r * T * near, near,
                          room.context + r * T * values, values, T, real, S, memory.value_width);
        if (g.keys)
            finish_keys(scorer, real, room.shares + r * S * scorer.padded(),
                        g.keys + b * S * scorer.width, S);
    }
};
