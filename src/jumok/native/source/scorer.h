// Additive scores v . tanh(q + k) of one query over the real positions of a source.
// With E = exp(2 .) of both, tanh(q + k) = 1 - 2 r, r = 1 / (1 + E_q E_k): one exponential per
// key and per query instead of one tanh per pair. Where |q| or |k| exceeds LARGE the product
// could leave float's range, and r is taken from tanh itself. Nothing of size T S A is kept.
#pragma once
#include "attention.h"

constexpr float LARGE = 20.f;

struct Scorer {
    const float* v;  // [width]
    long width;
    long padded() const { return up(width, LANES); }
};
// One row's keys: as given, and their exponentials [real.n][padded] unless some are large.
struct Keys {
    const float *given, *exponentials;
    bool large;
    Real real;
};
// exp(2 x) of `width` values to `to` (padding: of zero); whether all of them are small enough.
INLINE bool exponentials(float* to, const float* from, long width) {
    V top = {};
    for (long k = 0; k < width; k += LANES) {
        V x = load(from + k, width - k), size = x < (V){} ? -x : x;
        top = size <= top ? top : size;
        store(to + k, exp(x + x));
    }
    bool small = true;
    for (long j = 0; j < LANES; j++) small &= top[j] <= LARGE;  // not so for NaN
    return small;
}
// The keys of one row, their exponentials in `room` [real.n][padded].
INLINE Keys prepare_keys(const Scorer& s, const float* given, Real real, float* room) {
    bool small = true;
    for (long j = 0; j < real.n; j++)
        small &= exponentials(room + j * s.padded(), given + real.at[j] * s.width, s.width);
    return {given, room, !small, real};
}
template <bool DIRECT>
INLINE V ratio(const Scorer& s, const Keys& keys, const float* query, const float* exp_query,
               long j, long k) {
    if constexpr (DIRECT) {
        V key = load(keys.given + keys.real.at[j] * s.width + k, s.width - k);
        return fma(splat(-.5f), tanh(key + load(query + k)), splat(.5f));
    }
    V product = load(keys.exponentials + j * s.padded() + k) * load(exp_query + k);
    return reciprocal(product + splat(1.f));
}
template <bool DIRECT>
void score_as(const Scorer& s, const Keys& keys, const float* query, const float* exp_query,
              float* scores) {
    V all = {};
    for (long k = 0; k < s.width; k += LANES) all += load(s.v + k, s.width - k);
    float most = sum(all);
    for (long j = 0; j < keys.real.n; j++) {
        V total = {};
        for (long k = 0; k < s.width; k += LANES)
            total = fma(load(s.v + k, s.width - k),
                        ratio<DIRECT>(s, keys, query, exp_query, j, k), total);
        scores[j] = most - 2.f * sum(total);
    }
}
// Scores of a padded query; `room` holds its exponentials.
inline void score(const Scorer& s, const Keys& keys, const float* query, float* room,
                  float* scores) {
    bool small = exponentials(room, query, s.padded());
    if (small && !keys.large) score_as<false>(s, keys, query, room, scores);
    else score_as<true>(s, keys, query, room, scores);
}
// From the scores' gradient: dquery (written), and sums that `finish_keys` and `dv` complete:
// shares [real.n][padded] += dscore r (1 - r), total [padded] += sum over j of dscore tanh.
template <bool DIRECT>
void score_back_as(const Scorer& s, const Keys& keys, const float* query, const float* exp_query,
                   const float* dscores, float* dquery, float* shares, float* total) {
    float all = 0;
    for (long j = 0; j < keys.real.n; j++) all += dscores[j];
    widths(s.padded() / LANES, [&](auto count, long vector) {
        constexpr int N = decltype(count)::value;
        V to_query[N] = {}, to_v[N] = {};
        for (long j = 0; j < keys.real.n; j++) {
            V d = splat(dscores[j]);
            for (int i = 0; i < N; i++) {
                long k = (vector + i) * LANES;
                float* share = shares + j * s.padded() + k;
                V r = ratio<DIRECT>(s, keys, query, exp_query, j, k);
                V dr = d * r, slope = fma(-dr, r, dr);
                to_v[i] += dr;
                to_query[i] += slope;
                store(share, load(share) + slope);
            }
        }
        for (int i = 0; i < N; i++) {
            long k = (vector + i) * LANES;
            store(dquery + k, splat(4.f) * load(s.v + k, s.width - k) * to_query[i]);
            store(total + k, load(total + k) + fma(splat(-2.f), to_v[i], splat(all)));
        }
    });
}
inline void score_back(const Scorer& s, const Keys& keys, const float* query, float* room,
                       const float* dscores, float* dquery, float* shares, float* total) {
    bool small = exponentials(room, query, s.padded());
    if (small && !keys.large)
        score_back_as<false>(s, keys, query, room, dscores, dquery, shares, total);
    else score_back_as<true>(s, keys, query, room, dscores, dquery, shares, total);
}
// The gradient of one row's keys [S][width] from the shares; zero at masked positions.
inline void finish_keys(const Scorer& s, Real real, const float* shares, float* dkeys, long S) {
    clear(dkeys, S * s.width);
    for (long j = 0; j < real.n; j++)
        for (long k = 0; k < s.width; k += LANES) {
            V d = splat(4.f) * load(s.v + k, s.width - k) * load(shares + j * s.padded() + k);
            store(dkeys + real.at[j] * s.width + k, d, s.width - k);
        }
}
// dv [width]: the rows of totals [B][padded] summed in their order.
inline void sum_totals(const Scorer& s, const float* totals, long B, float* dv) {
    for (long k = 0; k < s.width; k += LANES) {
        V all = {};
        for (long b = 0; b < B; b++) all += load(totals + b * s.padded() + k);
        store(dv + k, all, s.width - k);
    }
}

// Scores [B][T][S] of queries [B][T][width] (into m.weights); zero where masked.
inline void all_scores(Scorer s, const Memory& m, long B, long T, int threads,
                       const float* query) {
    PerThread<float> floats(threads, m.S * s.padded() + 2 * s.padded() + m.S + LANES);
    PerThread<int32_t> lists(threads, Positions::room(1, m.S));
    over_items(B, threads, [&](long b) {
        Positions positions(m, b, 1, lists.mine());
        float* room = floats.mine();
        Keys keys = prepare_keys(s, m.key(b, 0), positions[0], room);
        float *q = room + m.S * s.padded(), *exp_q = q + s.padded(), *scores = exp_q + s.padded();
        for (long t = 0; t < T; t++) {
            place(q, query + (b * T + t) * s.width, s.width);
            score(s, keys, q, exp_q, scores);
            spread(m.weights + (b * T + t) * m.S, scores, positions[0], m.S);
        }
    });
}
inline void all_scores_back(Scorer s, const Memory& m, long B, long T, int threads,
                            const float* query, const float* dscores, float* dquery, float* dkeys,
                            float* dv) {
    long wide = s.padded();
    PerThread<float> floats(threads, 2 * m.S * wide + 3 * wide + m.S + LANES);
    PerThread<int32_t> lists(threads, Positions::room(1, m.S));
    Scratch<float> totals(B * wide);
    clear(totals.data, B * wide);
    over_items(B, threads, [&](long b) {
        Positions positions(m, b, 1, lists.mine());
        float *room = floats.mine(), *shares = room + m.S * wide, *q = shares + m.S * wide;
        float *exp_q = q + wide, *dq = exp_q + wide, *scores = dq + wide;
        Keys keys = prepare_keys(s, m.key(b, 0), positions[0], room);
        clear(shares, m.S * wide);
        for (long t = 0; t < T; t++) {
            long at = b * T + t;
            place(q, query + at * s.width, s.width);
            gather(scores, dscores + at * m.S, positions[0]);
            score_back(s, keys, q, exp_q, scores, dq, shares, totals.data + b * wide);
            for (long k = 0; dquery && k < s.width; k += LANES)
                store(dquery + at * s.width + k, load(dq + k), s.width - k);
        }
        if (dkeys) finish_keys(s, positions[0], shares, dkeys + b * m.S * s.width, m.S);
    });
    if (dv) sum_totals(s, totals.data, B, dv);
}
