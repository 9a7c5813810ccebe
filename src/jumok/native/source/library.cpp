// The functions that native/library.py calls: plain pointers, sizes and a number of threads.
// Every function returns 0, or 1 where there was no memory.
#include "additive.h"
#include "gru.h"
#include "linear.h"
#include "lstm.h"
#include "luong.h"
#include "masks.h"
#include "pool.h"
#include "ntm.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

template <class F> static int guarded(F f) {
    try {
        f();
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}
template <class F> static int by_precision(long low, F f) {
    return guarded([&] {
        if (low) f(bf16{});
        else f(float{});
    });
}

EXPORT int jumok_lanes() { return LANES; }
EXPORT int jumok_has_bf16() {
#if defined(__AVX512BF16__)
    return 1;
#else
    return 0;
#endif
}
// The length of a row of operands of the given padded width.
EXPORT long jumok_row(int low, long width) {
    return low ? row_stride<bf16>(width) : row_stride<float>(width);
}
// How many threads a region of this library gets, and whose: the caller compares with torch's.
EXPORT int jumok_threads(int threads) {
    int seen = 0;
#pragma omp parallel num_threads(threads) reduction(+ : seen)
    seen += 1;
    return seen;
}

EXPORT int jumok_keep_mask(uint64_t key, const int64_t* example, long B, int64_t start,
                           int64_t step, long T, long width, uint32_t threshold, float scale,
                           float* out, int threads) {
    return guarded(
        [&] { keep_mask(key, example, B, start, step, T, width, threshold, scale, out, threads); });
}

EXPORT int jumok_linear_forward(long low, long threads, long rows, long E, long width,
                                const float* x, const float* weight, const float* bias, float* y,
                                void* operands) {
    return by_precision(low, [&](auto g) {
        typedef decltype(g) G;
        Linear<G>{(int)threads, rows, {{weight, nullptr, E, E}}, {1, width}, (G*)operands}.forward(
            x, bias, y);
    });
}
EXPORT int jumok_linear_backward(long low, long threads, long rows, long E, long width,
                                 const float* weight, void* operands, const float* dy, float* dx,
                                 float* dweight, float* dbias) {
    return by_precision(low, [&](auto g) {
        typedef decltype(g) G;
        Linear<G>{(int)threads, rows, {{weight, dweight, E, E}}, {1, width}, (G*)operands}.backward(
            dy, dx, dbias);
    });
}

// `low` is not read: there are no products whose operands could be bfloat16.
EXPORT int jumok_forget_pool_forward(long, long threads, long B, long T, long size,
                                     const float* a, const float* u, const float* v,
                                     const float* c0, float* c) {
    return guarded([&] { Pool{(int)threads, B, T, size, a, u, v, c0, c}.forward(); });
}
EXPORT int jumok_forget_pool_backward(long, long threads, long B, long T, long size,
                                      const float* a, const float* u, const float* v,
                                      const float* c0, float* c, const float* dc, float* da,
                                      float* du, float* dv, float* dc0) {
    return guarded([&] {
        Pool{(int)threads, B, T, size, a, u, v, c0, c}.backward(dc, da, du, dv, dc0);
    });
}

// A weight [rows][width] and, on the way back, where its gradient goes.
static Columns columns(const float* weight, float* grad, long width) {
    return {weight, grad, width, width};
}
static Columns columns(const float* weight, long width) { return {weight, nullptr, width, width}; }

#define LSTM_SIZES long low, long threads, long B, long T, long E, long hidden
#define LSTM_INPUTS \
    const float *x, const float *weight_x, const float *weight_h, const float *bias, \
        const float *h0, const float *c0, float *h, float *c, void *gates, void *operands
EXPORT int jumok_lstm_forward(LSTM_SIZES, LSTM_INPUTS) {
    return by_precision(low, [&](auto g) {
        typedef decltype(g) G;
        Lstm<G> core{(int)threads, B, T, x, bias, h0, c0, columns(weight_x, E),
                     columns(weight_h, hidden), h, c, (G*)gates, (G*)operands};
        run_forward(core);
    });
}
EXPORT int jumok_lstm_backward(LSTM_SIZES, LSTM_INPUTS, const float* dh, const float* dc,
                               float* dx, float* dweight_x, float* dweight_h, float* dbias,
                               float* dh0, float* dc0) {
    return by_precision(low, [&](auto g) {
        typedef decltype(g) G;
        Lstm<G> core{(int)threads, B, T, x, bias, h0, c0, columns(weight_x, dweight_x, E),
                     columns(weight_h, dweight_h, hidden), h, c, (G*)gates, (G*)operands};
        run_backward(core, {dh, dc, nullptr, nullptr, dx, dbias, dh0, dc0});
    });
}

// `kept` [3 or 4][B][T][padded] holds r, z, n and, where the reset comes after, U_n h.
template <class G>
static Gru<G> make_gru(long threads, long before, long z_new, long B, long T, const float* x,
                       Columns on_x, Columns on_h, const float* bias, const float* h0, float* h,
                       float* kept, void* operands, const float* source, long lag) {
    long each = B * T * on_h.padded();
    return {(int)threads, !!before, !!z_new, B, T, x, bias, h0, on_x, on_h, h, kept, kept + each,
            kept + 2 * each, kept + 3 * each, (G*)operands, source, lag};
}
#define GRU_SIZES \
    long low, long threads, long before, long z_new, long B, long T, long E, long hidden
#define GRU_INPUTS \
    const float *x, const float *weight_x, const float *weight_h, const float *bias, \
        const float *h0, float *h, float *kept, void *operands
EXPORT int jumok_gru_forward(GRU_SIZES, GRU_INPUTS) {
    return by_precision(low, [&](auto g) {
        run_forward(make_gru<decltype(g)>(threads, before, z_new, B, T, x, columns(weight_x, E),
                                          columns(weight_h, hidden), bias, h0, h, kept, operands,
                                          h, 1));
    });
}
EXPORT int jumok_gru_backward(GRU_SIZES, GRU_INPUTS, const float* dh, float* dx,
                              float* dweight_x, float* dweight_h, float* dbias, float* dh0) {
    return by_precision(low, [&](auto g) {
        run_backward(make_gru<decltype(g)>(threads, before, z_new, B, T, x,
                                           columns(weight_x, dweight_x, E),
                                           columns(weight_h, dweight_h, hidden), bias, h0, h,
                                           kept, operands, h, 1),
                     {dh, dx, dbias, dh0});
    });
}

// Decoders: weight_x is [gates hidden][E + what attention adds], the embedding's columns first.
#define LUONG_SIZES \
    long low, long threads, long B, long T, long E, long hidden, long S, long D, long F
#define LUONG_INPUTS \
    const float *y, const float *weight_x, const float *weight_h, const float *bias, \
        const float *keys, const float *values, const uint8_t *mask, const float *weight_c, \
        const float *bias_c, const float *h0, const float *c0, const float *feed0, \
        const float *feed_mask, float *out, float *weights, float *h, float *c, void *gates, \
        void *operands, void *joined
template <class G> static Luong<G> make_luong(const Lstm<G>& core, float* reading, float* dweight_c,
                                              LUONG_SIZES, LUONG_INPUTS) {
    (void)low, (void)threads, (void)B, (void)T, (void)E, (void)weight_x, (void)weight_h;
    (void)bias, (void)h0, (void)c0, (void)h, (void)c, (void)gates, (void)operands;
    float* dstate = dweight_c ? dweight_c + D : nullptr;
    return {core, F, y, feed0, feed_mask,
            {{weight_c, dweight_c, D + hidden, D}, {weight_c + D, dstate, D + hidden, hidden}},
            bias_c, {keys, values, mask, S, hidden, D, weights}, reading, out, (G*)joined};
}
#define LUONG_ALL \
    low, threads, B, T, E, hidden, S, D, F, y, weight_x, weight_h, bias, keys, values, mask, \
        weight_c, bias_c, h0, c0, feed0, feed_mask, out, weights, h, c, gates, operands, joined
EXPORT int jumok_luong_feed_forward(LUONG_SIZES, LUONG_INPUTS) {
    return by_precision(low, [&](auto g) {
        typedef decltype(g) G;
        Scratch<float> reading(B * T * (E + F));
        Lstm<G> core{(int)threads, B, T, reading.data, bias, h0, c0, columns(weight_x, E + F),
                     columns(weight_h, hidden), h, c, (G*)gates, (G*)operands};
        make_luong<G>(core, reading.data, nullptr, LUONG_ALL).forward();
    });
}
EXPORT int jumok_luong_feed_backward(
    LUONG_SIZES, LUONG_INPUTS, const float* dout, const float* dweights, const float* dh_last,
    const float* dc_last, float* dy, float* dweight_x, float* dweight_h, float* dbias,
    float* dkeys, float* dvalues, float* dweight_c, float* dbias_c, float* dh0, float* dc0,
    float* dfeed0) {
    return by_precision(low, [&](auto g) {
        typedef decltype(g) G;
        Lstm<G> core{(int)threads, B, T, nullptr, bias, h0, c0,
                     columns(weight_x, dweight_x, E + F), columns(weight_h, dweight_h, hidden), h,
                     c, (G*)gates, (G*)operands};
        make_luong<G>(core, nullptr, dweight_c, LUONG_ALL)
            .backward({dout, dweights, dy, dfeed0, dbias_c, dkeys, dvalues},
                      {nullptr, nullptr, dh_last, dc_last, nullptr, dbias, dh0, dc0});
    });
}

#define SIZES long low, long threads, long B, long T, long E, long hidden, long S, long D, long A
#define MEMORY \
    const float *weight_q, const float *v, const float *keys, const float *values, \
        const uint8_t *mask
#define FOUND float *h, float *context, float *weights, float *query
#define DFOUND const float *dh, const float *dcontext, const float *dweights
#define DMEMORY float *dweight_q, float *dv, float *dkeys, float *dvalues

#define ADDITIVE_LSTM \
    const float *y, const float *weight_x, const float *weight_h, const float *bias, MEMORY, \
        const float *h0, const float *c0, FOUND, float *c, void *gates, void *operands
EXPORT int jumok_additive_lstm_forward(SIZES, ADDITIVE_LSTM) {
    return by_precision(low, [&](auto g) {
        typedef decltype(g) G;
        Scratch<float> reading(B * T * (E + D));
        Lstm<G> core{(int)threads, B, T, reading.data, bias, h0, c0, columns(weight_x, E + D),
                     columns(weight_h, hidden), h, c, (G*)gates, (G*)operands};
        Additive<Lstm<G>>{core, nullptr, columns(weight_q, hidden), {v, A},
                          {keys, values, mask, S, A, D, weights}, y, reading.data, context, query}
            .forward();
    });
}
EXPORT int jumok_additive_lstm_backward(SIZES, ADDITIVE_LSTM, DFOUND, const float* dc_last,
                                        float* dy, float* dweight_x, float* dweight_h,
                                        float* dbias, DMEMORY, float* dh0, float* dc0) {
    return by_precision(low, [&](auto g) {
        typedef decltype(g) G;
        Lstm<G> core{(int)threads, B, T, nullptr, bias, h0, c0,
                     columns(weight_x, dweight_x, E + D), columns(weight_h, dweight_h, hidden), h,
                     c, (G*)gates, (G*)operands};
        Additive<Lstm<G>>{core, nullptr, columns(weight_q, dweight_q, hidden), {v, A},
                          {keys, values, mask, S, A, D, weights}, y, nullptr, context, query}
            .backward({dcontext, dweights, dy, dkeys, dvalues, dv},
                      {dh, nullptr, nullptr, dc_last, nullptr, dbias, dh0, dc0}, {});
    });
}

#define ADDITIVE_GRU \
    const float *y, const float *weight_x, const float *weight_h, const float *bias, MEMORY, \
        const float *h0, FOUND, float *kept, void *operands
EXPORT int jumok_additive_gru_forward(long low, long threads, long before, long z_new, long B,
                                      long T, long E, long hidden, long S, long D, long A,
                                      ADDITIVE_GRU) {
    return by_precision(low, [&](auto g) {
        typedef Gru<decltype(g)> Core;
        Scratch<float> reading(B * T * (E + D));
        Core core = make_gru<decltype(g)>(threads, before, z_new, B, T, reading.data,
                                          columns(weight_x, E + D), columns(weight_h, hidden),
                                          bias, h0, h, kept, operands, h, 1);
        Additive<Core>{core, nullptr, columns(weight_q, hidden), {v, A},
                       {keys, values, mask, S, A, D, weights}, y, reading.data, context, query}
            .forward();
    });
}
EXPORT int jumok_additive_gru_backward(long low, long threads, long before, long z_new, long B,
                                       long T, long E, long hidden, long S, long D, long A,
                                       ADDITIVE_GRU, DFOUND, float* dy, float* dweight_x,
                                       float* dweight_h, float* dbias, DMEMORY, float* dh0) {
    return by_precision(low, [&](auto g) {
        typedef Gru<decltype(g)> Core;
        Core core = make_gru<decltype(g)>(
            threads, before, z_new, B, T, nullptr, columns(weight_x, dweight_x, E + D),
            columns(weight_h, dweight_h, hidden), bias, h0, h, kept, operands, h, 1);
        Additive<Core>{core, nullptr, columns(weight_q, dweight_q, hidden), {v, A},
                       {keys, values, mask, S, A, D, weights}, y, nullptr, context, query}
            .backward({dcontext, dweights, dy, dkeys, dvalues, dv}, {dh, nullptr, dbias, dh0}, {});
    });
}

// The first GRU reads y, its new state asks, the second one goes on from that state and reads
// the context. Both with the reset after the product and z gating the old state.
#define CONDITIONAL \
    const float *y, const float *weight_x1, const float *weight_h1, const float *bias1, \
        const float *weight_x2, const float *weight_h2, const float *bias2, MEMORY, \
        const float *h0, FOUND, float *asking, float *kept1, float *kept2, void *operands1, \
        void *operands2
EXPORT int jumok_conditional_gru_forward(SIZES, CONDITIONAL) {
    return by_precision(low, [&](auto g) {
        typedef Gru<decltype(g)> Core;
        Scratch<float> reading(B * T * D);
        Core first = make_gru<decltype(g)>(threads, 0, 0, B, T, y, columns(weight_x1, E),
                                           columns(weight_h1, hidden), bias1, h0, asking, kept1,
                                           operands1, h, 1);
        Core second = make_gru<decltype(g)>(threads, 0, 0, B, T, reading.data,
                                            columns(weight_x2, D), columns(weight_h2, hidden),
                                            bias2, nullptr, h, kept2, operands2, asking, 0);
        Additive<Core>{second, &first, columns(weight_q, hidden), {v, A},
                       {keys, values, mask, S, A, D, weights}, y, reading.data, context, query}
            .forward();
    });
}
EXPORT int jumok_conditional_gru_backward(SIZES, CONDITIONAL, DFOUND, float* dy,
                                          float* dweight_x1, float* dweight_h1, float* dbias1,
                                          float* dweight_x2, float* dweight_h2, float* dbias2,
                                          DMEMORY, float* dh0) {
    return by_precision(low, [&](auto g) {
        typedef Gru<decltype(g)> Core;
        Core first = make_gru<decltype(g)>(threads, 0, 0, B, T, y,
                                           columns(weight_x1, dweight_x1, E),
                                           columns(weight_h1, dweight_h1, hidden), bias1, h0,
                                           asking, kept1, operands1, h, 1);
        Core second = make_gru<decltype(g)>(
            threads, 0, 0, B, T, nullptr, columns(weight_x2, dweight_x2, D),
            columns(weight_h2, dweight_h2, hidden), bias2, nullptr, h, kept2, operands2, asking, 0);
        Additive<Core>{second, &first, columns(weight_q, dweight_q, hidden), {v, A},
                       {keys, values, mask, S, A, D, weights}, y, nullptr, context, query}
            .backward({dcontext, dweights, nullptr, dkeys, dvalues, dv},
                      {dh, nullptr, dbias2, nullptr}, {nullptr, dy, dbias1, dh0});
    });
}

// Scores of queries that are all known: no weights, no memory.
EXPORT int jumok_additive_scores_forward(long threads, long B, long T, long S, long A,
                                         const float* query, const float* keys, const float* v,
                                         const uint8_t* mask, float* scores) {
    return guarded([&] { all_scores({v, A}, {keys, keys, mask, S, A, A, scores}, B, T, (int)threads, query); });
}
EXPORT int jumok_additive_scores_backward(long threads, long B, long T, long S, long A,
                                          const float* query, const float* keys, const float* v,
                                          const uint8_t* mask, float* scores, const float* dscores,
                                          float* dquery, float* dkeys, float* dv) {
    return guarded([&] {
        all_scores_back({v, A}, {keys, keys, mask, S, A, A, scores}, B, T, (int)threads, query,
                        dscores, dquery, dkeys, dv);
    });
}

// One step of a memory; arrays as in ntm.h. `low` is for the face's sake: all is float.
#define NTM_SIZES \
    long low, long threads, long B, long R, long W, long N, long M, long K, long after
#define NTM_ARRAYS \
    const float *raw, const float *changes, const float *memory, const float *before_read, \
        const float *before_write, float *written, float *read_weights, float *write_weights, \
        float *reads, float *kept
#define NTM_STEP \
    {B, R, W, N, M, K, after}, (int)threads, raw, changes, memory, before_read, before_write, \
        written, read_weights, write_weights, reads, kept
EXPORT int jumok_ntm_forward(NTM_SIZES, NTM_ARRAYS) {
    (void)low;
    return guarded([&] { ntm::Step{NTM_STEP}.forward(); });
}
EXPORT int jumok_ntm_backward(NTM_SIZES, NTM_ARRAYS, const float* dwritten,
                              const float* dread_weights, const float* dwrite_weights,
                              const float* dreads, float* draw, float* dchanges, float* dmemory,
                              float* dbefore_read, float* dbefore_write) {
    (void)low;
    return guarded([&] {
        ntm::Step{NTM_STEP}.backward({dwritten, dread_weights, dwrite_weights, dreads, draw,
                                      dchanges, dmemory, dbefore_read, dbefore_write});
    });
}
