// Attention of one row over its source: only real positions are ever looked at.
#pragma once
#include "cell.h"

// Keys [B][S][key_width] and values [B][S][value_width], which may be the same memory; a mask
// [B][S] (absent: all real); weights [B][T][S], zero where masked.
struct Memory {
    const float *keys, *values;
    const uint8_t* mask;
    long S, key_width, value_width;
    float* weights;
    const float* key(long b, long s) const { return keys + (b * S + s) * key_width; }
    const float* value(long b, long s) const { return values + (b * S + s) * value_width; }
};
// The real positions of one row, and those of a block of rows.
struct Real {
    long n;
    const int32_t* at;
};
struct Positions {
    long S;
    int32_t *list, *counts;  // [rows][S], [rows]
    static long room(long rows, long S) { return rows * (S + 1); }
    Positions(const Memory& m, long first, long rows, int32_t* room)
        : S(m.S), list(room), counts(room + rows * m.S) {
        for (long r = 0; r < rows; r++) {
            int32_t *at = list + r * S, n = 0;
            for (long s = 0; s < S; s++) {
                at[n] = (int32_t)s;
                n += !m.mask || m.mask[(first + r) * S + s];
            }
            counts[r] = n;
        }
    }
    Real operator[](long r) const { return {counts[r], list + r * S}; }
};

INLINE float dot(const float* a, const float* b, long n) {
    V total[4] = {};
    long k = 0;
    for (; k + PANEL <= n; k += PANEL)
        for (int i = 0; i < 4; i++)
            total[i] = fma(load(a + k + i * LANES), load(b + k + i * LANES), total[i]);
    for (; k < n; k += LANES) total[0] = fma(load(a + k, n - k), load(b + k, n - k), total[0]);
    return sum((total[0] + total[1]) + (total[2] + total[3]));
}
// scores[0..n) become weights, in place; room up to a whole vector is used. Nothing: nothing.
inline void softmax(float* scores, long n) {
    if (!n) return;
    float top = scores[0], sums = 0;
    for (long j = 1; j < n; j++) top = scores[j] > top ? scores[j] : top;
    for (long j = 0; j < n; j += LANES) store(scores + j, exp(load(scores + j) - splat(top)));
    for (long j = 0; j < n; j++) sums += scores[j];
    V scale = splat(1.f / sums);
    for (long j = 0; j < n; j += LANES) store(scores + j, load(scores + j) * scale);
}
// The weights of the real positions into a row of all positions.
INLINE void spread(float* row, const float* weights, Real real, long S) {
    clear(row, S);
    for (long j = 0; j < real.n; j++) row[real.at[j]] = weights[j];
}
INLINE void gather(float* weights, const float* row, Real real) {
    for (long j = 0; j < real.n; j++) weights[j] = row[real.at[j]];
}
// out[0..width padded) = (out +) sum over j of weights[j] * rows[at[j]].
inline void weighted_sum(float* out, const float* weights, const float* rows, Real real,
                         long width, bool more) {
    auto part = [&](auto count, long v) {
        constexpr int N = decltype(count)::value;
        V total[N];
        long k = v * LANES;
        for (int i = 0; i < N; i++) total[i] = more ? load(out + k + i * LANES) : (V){};
        bool whole = k + N * LANES <= width;
        for (long j = 0; j < real.n; j++) {
            const float* row = rows + real.at[j] * width + k;
            V w = splat(weights[j]);
            for (int i = 0; i < N; i++)
                total[i] = fma(w, whole ? load(row + i * LANES)
                                        : load(row + i * LANES, width - k - i * LANES), total[i]);
        }
        for (int i = 0; i < N; i++) store(out + k + i * LANES, total[i]);
    };
    long vectors = up(width, LANES) / LANES, v = 0;  // long stretches of each row at a time
    for (; STRIP == 6 && v + 16 <= vectors; v += 16) part(Int<16>{}, v);
    widths(vectors - v, [&](auto count, long w) { part(count, v + w); });
}
// The gradient of the scores from that of the context (and of the weights, if not absent).
INLINE void scores_back(float* grad, const float* weights, const float* dcontext,
                        const float* dweights, const Memory& m, long b, Real real) {
    float mean = 0;
    for (long j = 0; j < real.n; j++) {
        grad[j] = dot(m.value(b, real.at[j]), dcontext, m.value_width);
        if (dweights) grad[j] += dweights[real.at[j]];
        mean += grad[j] * weights[j];
    }
    for (long j = 0; j < real.n; j++) grad[j] = weights[j] * (grad[j] - mean);
}
// out[at[j]][0..width) = sum over t of coefficients[t][j] * rows[t]; zeros at masked positions.
inline void sum_over_time(float* out, const float* coefficients, long stride, const float* rows,
                          long row_width, long T, Real real, long S, long width) {
    for (long s = 0, j = 0; s < S; s++)
        if (j < real.n && real.at[j] == s) j++;
        else clear(out + s * width, width);
    for (long v = 0; v * LANES < width; v += 4) {
        long n = least(4, up(width, LANES) / LANES - v);
        strips(real.n, [&](long strip, long first) {
            V c[STRIP * 4];
            kernel<float>(strip, n)(c, false, (const uint32_t*)coefficients + first, 1, stride,
                                    (const uint32_t*)rows + v * LANES, row_width, T);
            for (long r = 0; r < strip; r++)
                for (long i = 0; i < n; i++) {
                    long k = (v + i) * LANES;
                    store(out + real.at[first + r] * width + k, c[r * n + i], width - k);
                }
        });
    }
}
