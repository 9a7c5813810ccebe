// The Neural Turing Machine's memory: one step of addressing, writing and reading, and back.
// Graves, Wayne and Danihelka 2014, (2) to (9). Memory is [B][M][N]: slots lie side by side, so
// that everything runs along them. A head's numbers before their ranges: key [M], strength,
// gate, shift [K], sharpness; read heads come first, then write heads. Rows are independent.
#pragma once
#include "memory.h"

// log of x >= 2^-126 (NaN stays NaN): the exponent, and log m = 2 atanh((m - 1) / (m + 1)) of
// the rest (1e-8).
INLINE V log(V x) {
    I bits = (I)x, high = bits - 0x3f3504f3;  // the rest lies between sqrt(1/2) and sqrt(2)
    I exponent = high >> 23;
    V rest = (V)(bits - (exponent << 23));
    V s = (rest - splat(1.f)) / (rest + splat(1.f)), y = s * s, p;
    p = fma(splat(1.f / 9), y, splat(1.f / 7));
    p = fma(fma(p, y, splat(1.f / 5)), y, splat(1.f / 3));
    p = fma(p * y, s, s);
    V n = __builtin_convertvector(exponent, V);
    V found = fma(n, splat(0.693359375f), fma(n, splat(-2.12194440e-4f), p + p));  // n ln 2 + ..
    return x == x ? found : x;
}

namespace ntm {
constexpr float TINY = 1e-16f, NEARLY_NOTHING = 1e-12f;  // those of models/ntm_cell.py
constexpr float JUST_ABOVE_LOG_TINY = -36.8413f;         // log TINY is -36.84136

INLINE float softplus(float x) { return x > 20 ? x : std::log1p(std::exp(x)); }
INLINE float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }
INLINE float dot(const float* a, const float* b, long n) {
    V c = {};
    for (long k = 0; k < n; k += LANES) c = fma(load(a + k, n - k), load(b + k, n - k), c);
    return sum(c);
}
// f(first lane, how many of them are left) over whole vectors and the rest.
template <class F> INLINE void lanes(long n, F f) {
    for (long k = 0; k < n; k += LANES) f(k, n - k);
}
INLINE void add_to(float* to, float scale, const float* x, long n) {
    lanes(n, [&](long k, long left) {
        store(to + k, fma(splat(scale), load(x + k, left), load(to + k, left)), left);
    });
}
// y = softmax(scale x)
INLINE void softmax(float* y, float scale, const float* x, long n) {
    float most = scale * x[0];
    for (long k = 1; k < n; k++) most = scale * x[k] > most ? scale * x[k] : most;
    V all = {};
    lanes(n, [&](long k, long left) {
        V e = trim(exp(fma(splat(scale), load(x + k, left), splat(-most))), left);
        all += e;
        store(y + k, e, left);
    });
    float share = 1 / sum(all);
    lanes(n, [&](long k, long left) { store(y + k, load(y + k, left) * splat(share), left); });
}
// dx = y (dy - y . dy), what a softmax hands back
INLINE void softmax_back(float* dx, const float* y, const float* dy, long n) {
    float mean = dot(y, dy, n);
    lanes(n, [&](long k, long left) {
        store(dx + k, load(y + k, left) * (load(dy + k, left) - splat(mean)), left);
    });
}

struct Sizes {
    long B, R, W, N, M, K, after;  // after: reads see what this step wrote
    long heads() const { return R + W; }
    long each() const { return M + 3 + K; }
    long half() const { return K / 2; }
    long kept() const { return 4 * N + M + K; }  // a head's, for the way back
};

// Lengths of slots: inverse[n] = 1 / |M(n)|.
INLINE void slot_lengths(const Sizes& s, const float* memory, float* inverse) {
    for (long n = 0; n < s.N; n++) inverse[n] = NEARLY_NOTHING;
    for (long m = 0; m < s.M; m++) {
        const float* slot = memory + m * s.N;
        lanes(s.N, [&](long k, long left) {
            V v = load(slot + k, left);
            store(inverse + k, fma(v, v, load(inverse + k, left)), left);
        });
    }
    for (long n = 0; n < s.N; n++) inverse[n] = 1 / std::sqrt(inverse[n]);
}

// One head. What it keeps: cosines, content weights, gated weights, the logarithm of shifted
// ones, its key and its shift after their ranges.
struct Head {
    const Sizes& s;
    const float* raw;
    float* kept;
    float* cosines() const { return kept; }
    float* content() const { return kept + s.N; }
    float* gated() const { return kept + 2 * s.N; }
    float* logs() const { return kept + 3 * s.N; }
    float* key() const { return kept + 4 * s.N; }
    float* shift() const { return kept + 4 * s.N + s.M; }
    float strength() const { return softplus(raw[s.M]); }
    float gate() const { return sigmoid(raw[s.M + 1]); }
    float sharpness() const { return 1 + softplus(raw[s.M + 2 + s.K]); }
    float key_inverse() const { return 1 / std::sqrt(dot(key(), key(), s.M) + NEARLY_NOTHING); }

    // weights [N] from memory and the weights before; `ring` has room for N + K.
    void forward(const float* memory, const float* inverse, const float* before, float* weights,
                 float* ring) const {
        long N = s.N, half = s.half();
        lanes(s.M, [&](long k, long left) { store(key() + k, tanh(load(raw + k, left)), left); });
        softmax(shift(), 1, raw + s.M + 2, s.K);
        std::memset(cosines(), 0, N * sizeof(float));
        for (long m = 0; m < s.M; m++) add_to(cosines(), key()[m], memory + m * N, N);
        float scale = key_inverse(), g = gate();
        lanes(N, [&](long k, long left) {  // (6)
            V c = load(cosines() + k, left) * load(inverse + k, left) * splat(scale);
            store(cosines() + k, c, left);
        });
        softmax(content(), strength(), cosines(), N);  // (5)
        lanes(N, [&](long k, long left) {              // (7)
            V old = load(before + k, left);
            store(gated() + k, fma(splat(g), load(content() + k, left) - old, old), left);
        });
        turn(ring, gated());
        lanes(N, [&](long k, long left) {  // (8): w~(i) = sum_j w^g(i - (j - half)) s_j
            V sum = {};
            for (long j = 0; j < s.K; j++)
                sum = fma(splat(shift()[j]), load(ring + k + 2 * half - j, left), sum);
            sum = sum < splat(TINY) ? splat(TINY) : sum;
            store(logs() + k, log(sum), left);
        });
        softmax(weights, sharpness(), logs(), N);  // (9)
    }
    // x with `half` slots of either end repeated at the other: ring[half + n] = x[n].
    void turn(float* ring, const float* x) const {
        long half = s.half();
        std::memcpy(ring + half, x, s.N * sizeof(float));
        std::memcpy(ring, x + s.N - half, half * sizeof(float));
        std::memcpy(ring + half + s.N, x, half * sizeof(float));
    }
    // From dweights [N]: draw [each], and added to: dbefore, dmemory. `room` is 3 (N + K).
    void backward(const float* memory, const float* inverse, const float* before,
                  const float* weights, const float* dweights, float* draw, float* dbefore,
                  float* dmemory, float* room) const {
        long N = s.N, half = s.half();
        float *d = room, *ring = room + N, *other = ring + N + s.K;
        float gamma = sharpness(), beta = strength(), g = gate(), *dshift = draw + s.M + 2;
        softmax_back(d, weights, dweights, N);  // (9): of gamma log w~
        draw[s.M + 2 + s.K] = dot(d, logs(), N) * sigmoid(raw[s.M + 2 + s.K]);
        lanes(N, [&](long k, long left) {  // a slot that counted as TINY hands nothing back
            V l = load(logs() + k, left), slope = splat(gamma) * load(d + k, left) * exp(-l);
            store(d + k, l > splat(JUST_ABOVE_LOG_TINY) ? slope : (V){}, left);
        });
        turn(ring, gated());
        for (long j = 0; j < s.K; j++) other[j] = dot(d, ring + 2 * half - j, N);
        softmax_back(dshift, shift(), other, s.K);
        turn(ring, d);
        lanes(N, [&](long k, long left) {  // (8) backwards correlates
            V sum = {};
            for (long j = 0; j < s.K; j++)
                sum = fma(splat(shift()[j]), load(ring + k + j, left), sum);
            store(d + k, sum, left);
        });
        draw[s.M + 1] = (dot(d, content(), N) - dot(d, before, N)) * g * (1 - g);  // (7)
        add_to(dbefore, 1 - g, d, N);
        lanes(N, [&](long k, long left) { store(d + k, load(d + k, left) * splat(g), left); });
        softmax_back(d, content(), d, N);  // (5): of beta K
        draw[s.M] = dot(d, cosines(), N) * sigmoid(raw[s.M]);
        back_cosine(memory, inverse, beta, d, other, draw, dmemory);
    }

  private:
    // (6) backwards, from d = the gradient of beta K. `scaled` has room for N.
    void back_cosine(const float* memory, const float* inverse, float beta, float* d,
                     float* scaled, float* draw, float* dmemory) const {
        long N = s.N;
        float scale = key_inverse(), along = beta * dot(d, cosines(), N) * scale * scale;
        float* own = d;  // K d / |M(n)|^2, what the length of a slot hands back
        lanes(N, [&](long k, long left) {
            V slope = load(d + k, left) * splat(beta), inv = load(inverse + k, left);
            store(scaled + k, slope * inv * splat(scale), left);
            store(own + k, slope * load(cosines() + k, left) * inv * inv, left);
        });
        for (long m = 0; m < s.M; m++) {
            const float* slot = memory + m * N;
            float* dslot = dmemory + m * N;
            V key_m = splat(key()[m]), all = {};
            lanes(N, [&](long k, long left) {
                V v = load(slot + k, left), a = load(scaled + k, left);
                all = fma(v, a, all);
                V add = fma(key_m, a, -v * load(own + k, left));
                store(dslot + k, load(dslot + k, left) + add, left);
            });
            float k = key()[m];
            draw[m] = (sum(all) - k * along) * (1 - k * k);
        }
    }
};

// Everything of one call; arrays have rows on axis 0.
struct Step {
    Sizes s;
    int threads;
    const float *raw, *changes, *memory, *before_read, *before_write;
    float *written, *read_weights, *write_weights, *reads, *kept;

    Head head(long b, long h) const {
        long at = b * s.heads() + h;
        return {s, raw + at * s.each(), kept + at * s.kept()};
    }
    const float* old_memory(long b) const { return memory + b * s.M * s.N; }
    float* new_memory(long b) const { return written + b * s.M * s.N; }
    const float* seen(long b) const { return s.after ? new_memory(b) : old_memory(b); }
    float* writes(long b, long h) const { return write_weights + (b * s.W + h) * s.N; }
    float* looks(long b, long h) const { return read_weights + (b * s.R + h) * s.N; }
    // erase and add of write head h, in their ranges
    void change(long b, long h, float* erase, float* add) const {
        const float* from = changes + (b * s.W + h) * 2 * s.M;
        for (long m = 0; m < s.M; m++) erase[m] = sigmoid(from[m]);
        lanes(s.M, [&](long k, long left) {
            store(add + k, tanh(load(from + s.M + k, left)), left);
        });
    }

    void forward() const {
        PerThread<float> local(threads, 2 * s.N + s.K + 2 * s.W * s.M);
        over_items(s.B, threads, [&](long b) {
            float *inverse = local.mine(), *ring = inverse + s.N;
            slot_lengths(s, old_memory(b), inverse);
            for (long h = 0; h < s.W; h++)
                head(b, s.R + h).forward(old_memory(b), inverse,
                                         before_write + (b * s.W + h) * s.N, writes(b, h), ring);
            write(b, ring + s.N + s.K);
            if (s.after) slot_lengths(s, seen(b), inverse);
            for (long h = 0; h < s.R; h++) {
                head(b, h).forward(seen(b), inverse, before_read + (b * s.R + h) * s.N,
                                   looks(b, h), ring);
                for (long m = 0; m < s.M; m++)  // (2)
                    reads[(b * s.R + h) * s.M + m] = dot(seen(b) + m * s.N, looks(b, h), s.N);
            }
        });
    }
    void write(long b, float* changed) const {
        float *erase = changed, *add = changed + s.W * s.M;
        for (long h = 0; h < s.W; h++) change(b, h, erase + h * s.M, add + h * s.M);
        for (long m = 0; m < s.M; m++)
            lanes(s.N, [&](long k, long left) {
                V product = splat(1.f), sum = {};
                for (long h = 0; h < s.W; h++) {
                    V w = load(writes(b, h) + k, left);
                    product *= fma(-w, splat(erase[h * s.M + m]), splat(1.f));
                    sum = fma(w, splat(add[h * s.M + m]), sum);
                }
                V old = load(old_memory(b) + m * s.N + k, left);
                store(new_memory(b) + m * s.N + k, fma(old, product, sum), left);  // (3), (4)
            });
    }

    // Gradients of what went out (absent: zeros) and of what came in (all wanted).
    struct Grads {
        const float *written, *read_weights, *write_weights, *reads;
        float *raw, *changes, *memory, *before_read, *before_write;
    };
    void backward(const Grads& g) const {
        long wide = s.M * s.N;
        PerThread<float> local(threads, wide + (6 + s.W) * (s.N + s.K) + 4 * s.W * s.M);
        over_items(s.B, threads, [&](long b) {
            float *dnew = local.mine(), *inverse = dnew + wide, *room = inverse + s.N;
            float *dlooks = room + 3 * (s.N + s.K), *dwrites = dlooks + s.N;
            float *dold = g.memory + b * wide, *dseen = s.after ? dnew : dold;
            clear(dold, wide);
            take(dnew, g.written, b, wide);
            take(dwrites, g.write_weights, b, s.W * s.N);
            clear(g.before_read + b * s.R * s.N, s.R * s.N);
            clear(g.before_write + b * s.W * s.N, s.W * s.N);
            slot_lengths(s, seen(b), inverse);
            for (long h = 0; h < s.R; h++) {
                long at = b * s.R + h;
                take(dlooks, g.read_weights, at, s.N);
                for (long m = 0; g.reads && m < s.M; m++) {
                    float dread = g.reads[at * s.M + m];
                    add_to(dlooks, dread, seen(b) + m * s.N, s.N);
                    add_to(dseen + m * s.N, dread, looks(b, h), s.N);
                }
                head(b, h).backward(seen(b), inverse, before_read + at * s.N, looks(b, h), dlooks,
                                    g.raw + (b * s.heads() + h) * s.each(),
                                    g.before_read + at * s.N, dseen, room);
            }
            unwrite(b, dnew, dwrites, dold, g.changes, dwrites + s.W * s.N);
            if (s.after) slot_lengths(s, old_memory(b), inverse);
            for (long h = 0; h < s.W; h++) {
                long at = b * s.W + h;
                head(b, s.R + h).backward(old_memory(b), inverse, before_write + at * s.N,
                                          writes(b, h), dwrites + h * s.N,
                                          g.raw + (b * s.heads() + s.R + h) * s.each(),
                                          g.before_write + at * s.N, dold, room);
            }
        });
    }

  private:
    static void clear(float* to, long n) { std::memset(to, 0, n * sizeof(float)); }
    static void take(float* to, const float* from, long b, long n) {
        if (from) std::memcpy(to, from + b * n, n * sizeof(float));
        else clear(to, n);
    }
    // (4) and (3) backwards: into dwrites, dold and the gradient of erase and add.
    void unwrite(long b, const float* dnew, float* dwrites, float* dold, float* dchanges,
                 float* changed) const {
        float *erase = changed, *add = changed + s.W * s.M;
        for (long h = 0; h < s.W; h++) change(b, h, erase + h * s.M, add + h * s.M);
        for (long m = 0; m < s.M; m++) {
            const float *out = dnew + m * s.N, *old = old_memory(b) + m * s.N;
            for (long h = 0; h < s.W; h++) {
                float e = erase[h * s.M + m], a = add[h * s.M + m], *dw = dwrites + h * s.N;
                V de = {}, da = {};
                lanes(s.N, [&](long k, long left) {
                    V w = load(writes(b, h) + k, left), d = load(out + k, left);
                    V dfactor = d * load(old + k, left) * others(b, h, m, k, left, erase);
                    de = fma(-w, dfactor, de);
                    da = fma(w, d, da);
                    V more = fma(splat(a), d, -splat(e) * dfactor);
                    store(dw + k, load(dw + k, left) + more, left);
                });
                float* to = dchanges + (b * s.W + h) * 2 * s.M;
                to[m] = sum(de) * e * (1 - e);
                to[s.M + m] = sum(da) * (1 - a * a);
            }
            lanes(s.N, [&](long k, long left) {
                V all = others(b, -1, m, k, left, erase);
                float* to = dold + m * s.N + k;
                store(to, fma(load(out + k, left), all, load(to, left)), left);
            });
        }
    }
    // What the heads other than h leave of slot k.., column m: the product of 1 - w e.
    INLINE V product_term(V w, float e) { return fma(-w, splat(e), splat(1.f)); }
    V others(long b, long h, long m, long k, long left, const float* erase) const {
        V product = splat(1.f);
        for (long i = 0; i < s.W; i++)
            if (i != h) product *= product_term(load(writes(b, i) + k, left), erase[i * s.M + m]);
        return product;
    }
};
}  // namespace ntm
