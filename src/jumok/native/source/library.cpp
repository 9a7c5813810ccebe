// The functions that native/library.py calls: plain pointers, sizes and a number of threads.
// Every function returns 0, or 1 where there was no memory.
#include "additive.h"
#include "gru.h"
#include "linear.h"
#include "lstm.h"
#include "luong.h"
#include "masks.h"

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

#define LSTM_SIZES long low, long threads, long B, long T, long E, long hidden
#define LSTM_INPUTS \
    const float *x, const float *weight_x, const float *weight_h, const float *bias, \
        const float *h0, const float *c0, float *h, float *c, void *gates, void *operands
EXPORT int jumok_lstm_forward(LSTM_SIZES, LSTM_INPUTS) {
    return by_precision(low, [&](auto g) {
        typedef decltype(g) G;
        Cell<G> cell{B, T, hidden, bias, c0, c, (G*)gates};
        Columns in[2] = {{weight_x, nullptr, E, E}, {weight_h, nullptr, hidden, hidden}};
        Lstm<G>{(int)threads, B, T, x, h0, {in[0], in[1]}, cell, (G*)operands, h}.forward();
    });
}
EXPORT int jumok_lstm_backward(LSTM_SIZES, LSTM_INPUTS, const float* dh, const float* dc,
                               float* dx, float* dweight_x, float* dweight_h, float* dbias,
                               float* dh0, float* dc0) {
    return by_precision(low, [&](auto g) {
        typedef decltype(g) G;
        Cell<G> cell{B, T, hidden, bias, c0, c, (G*)gates};
        Columns in[2] = {{weight_x, dweight_x, E, E}, {weight_h, dweight_h, hidden, hidden}};
        Lstm<G>{(int)threads, B, T, x, h0, {in[0], in[1]}, cell, (G*)operands, h}.backward(
            dh, dc, dx, dh0, dc0, dbias);
    });
}

#define LUONG_SIZES \
    long low, long threads, long B, long T, long E, long hidden, long S, long D, long F
#define LUONG_INPUTS \
    const float *x, const float *weight_x, const float *weight_h, const float *bias, \
        const float *keys, const float *values, const uint8_t *mask, const float *weight_c, \
        const float *bias_c, const float *h0, const float *c0, const float *feed0, \
        const float *feed_mask, float *out, float *weights, float *h_last, float *c, void *gates, \
        void *operands, void *joined
// weight_x is [4 hidden][E + F]: on the embedding, then on what is fed back.
#define LUONG(dx, dh, dc)                                                                       \
    typedef decltype(g) G;                                                                      \
    float *dfed = dx ? dx + E : nullptr, *dstate = dc ? dc + D : nullptr;                       \
    Luong<G> luong {                                                                            \
        (int)threads, B, T, F, x, h0, feed0, feed_mask,                                         \
            {{weight_x, dx, E + F, E}, {weight_x + E, dfed, E + F, F}, {weight_h, dh, hidden, hidden}}, \
            {{weight_c, dc, D + hidden, D}, {weight_c + D, dstate, D + hidden, hidden}}, bias_c, \
            {keys, values, mask, S, hidden, D, weights}, {B, T, hidden, bias, c0, c, (G*)gates}, \
            (G*)operands, (G*)joined, h_last, out                                               \
    }
EXPORT int jumok_luong_feed_forward(LUONG_SIZES, LUONG_INPUTS) {
    return by_precision(low, [&](auto g) {
        float* none = nullptr;
        LUONG(none, none, none);
        luong.forward();
    });
}
EXPORT int jumok_luong_feed_backward(
    LUONG_SIZES, LUONG_INPUTS, const float* dout, const float* dweights, const float* dh_last,
    const float* dc_last, float* dx, float* dweight_x, float* dweight_h, float* dbias,
    float* dkeys, float* dvalues, float* dweight_c, float* dbias_c, float* dh0, float* dc0,
    float* dfeed0) {
    return by_precision(low, [&](auto g) {
        LUONG(dweight_x, dweight_h, dweight_c);
        luong.backward({dout, dweights, dh_last, dc_last, dx, dh0, dc0, dfeed0, dbias_c, dbias,
                        dkeys, dvalues});
    });
}

#define ADDITIVE_SIZES \
    long low, long threads, long B, long T, long E, long hidden, long S, long D, long A
#define ADDITIVE_INPUTS \
    const float *x, const float *weight_x, const float *weight_h, const float *bias, \
        const float *weight_q, const float *v, const float *keys, const float *values, \
        const uint8_t *mask, const float *h0, const float *c0, float *h, float *context, \
        float *weights, float *c, float *query, void *gates, void *operands
// weight_x is [4 hidden][E + D]: on the embedding, then on the context.
#define ADDITIVE(dx, dh, dq)                                                                    \
    typedef decltype(g) G;                                                                      \
    float* dcontext = dx ? dx + E : nullptr;                                                    \
    Additive<G> additive {                                                                      \
        (int)threads, B, T, x, h0,                                                              \
            {{weight_x, dx, E + D, E}, {weight_x + E, dcontext, E + D, D},                      \
             {weight_h, dh, hidden, hidden}},                                                   \
            {{weight_q, dq, hidden, hidden}}, {v, A}, {keys, values, mask, S, A, D, weights},   \
            {B, T, hidden, bias, c0, c, (G*)gates}, (G*)operands, h, context, query             \
    }
EXPORT int jumok_additive_lstm_forward(ADDITIVE_SIZES, ADDITIVE_INPUTS) {
    return by_precision(low, [&](auto g) {
        float* none = nullptr;
        ADDITIVE(none, none, none);
        additive.forward();
    });
}
EXPORT int jumok_additive_lstm_backward(
    ADDITIVE_SIZES, ADDITIVE_INPUTS, const float* dh, const float* dcontext_,
    const float* dweights, const float* dc_last, float* dx, float* dweight_x, float* dweight_h,
    float* dbias, float* dweight_q, float* dv, float* dkeys, float* dvalues, float* dh0,
    float* dc0) {
    return by_precision(low, [&](auto g) {
        ADDITIVE(dweight_x, dweight_h, dweight_q);
        additive.backward({dh, dcontext_, dweights, dc_last, dx, dh0, dc0, dbias, dkeys, dvalues,
                           dv});
    });
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

#define GRU_SIZES \
    long low, long threads, long before, long z_new, long B, long T, long E, long hidden
#define GRU_INPUTS \
    const float *x, const float *weight_x, const float *weight_h, const float *bias, \
        const float *h0, float *h, float *r, float *z, float *n, float *inner, void *operands
#define GRU \
    Gru<decltype(g)> { \
        (int)threads, !!before, !!z_new, B, T, E, hidden, x, bias, h0, weight_x, weight_h, h, r, \
            z, n, inner, (decltype(g)*)operands \
    }
EXPORT int jumok_gru_forward(GRU_SIZES, GRU_INPUTS) {
    return by_precision(low, [&](auto g) { GRU.forward(); });
}
EXPORT int jumok_gru_backward(GRU_SIZES, GRU_INPUTS, const float* dh, float* dx,
                              float* dweight_x, float* dweight_h, float* dbias, float* dh0) {
    return by_precision(low, [&](auto g) {
        GRU.backward({dh, dx, dweight_x, dweight_h, dbias, dh0});
    });
}
