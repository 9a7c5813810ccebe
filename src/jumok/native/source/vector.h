// Vectors of floats as wide as the processor's registers, bfloat16, and the activations.
// GCC vector extensions everywhere; AVX-512 and AVX2 intrinsics where they pay. NaN stays NaN.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

// STRIP: rows of a register tile; STRIP x 4 accumulators have to fit the register file.
#if defined(__AVX512F__)
constexpr long LANES = 16, STRIP = 6;
#elif defined(__AVX__)
constexpr long LANES = 8, STRIP = 3;
#elif defined(__aarch64__)
constexpr long LANES = 4, STRIP = 6;
#else
constexpr long LANES = 4, STRIP = 3;
#endif
constexpr long PANEL = 4 * LANES;

typedef float V __attribute__((vector_size(LANES * 4)));
typedef int32_t I __attribute__((vector_size(LANES * 4)));
typedef uint32_t U __attribute__((vector_size(LANES * 4)));
typedef uint16_t H __attribute__((vector_size(LANES * 2)));
struct bf16 {
    uint16_t bits;
};

INLINE V splat(float x) { return x - (V){}; }
INLINE V fma(V a, V b, V c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

INLINE V load(const float* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store(float* p, V v) { std::memcpy(p, &v, sizeof v); }
INLINE V load(const bf16* p) {
    H h;
    std::memcpy(&h, p, sizeof h);
    return (V)(__builtin_convertvector(h, U) << 16);
}
INLINE void store(bf16* p, V v) {
#if defined(__AVX512BF16__)
    __m256bh h = _mm512_cvtneps_pbh(v);
#else
    U u = (U)v, quiet = (u | 0x400000u) >> 16;  // a NaN must not round up to infinity
    U even = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    H h = __builtin_convertvector(v == v ? even : quiet, H);
#endif
    std::memcpy(p, &h, sizeof h);
}
// The first n lanes (n may exceed LANES); the others read as zero and are not written.
template <class G> INLINE V load(const G* p, long n) {
    if (__builtin_expect(n >= LANES, 1)) return load(p);
    G rest[LANES] = {};
    std::memcpy(rest, p, n * sizeof(G));
    return load(rest);
}
template <class G> INLINE void store(G* p, V v, long n) {
    if (__builtin_expect(n >= LANES, 1)) return store(p, v);
    G rest[LANES];
    store(rest, v);
    std::memcpy(p, rest, n * sizeof(G));
}
INLINE V trim(V v, long n) {  // lanes from n on become zero, whatever they held
    if (__builtin_expect(n >= LANES, 1)) return v;
    float kept[LANES] = {};
    std::memcpy(kept, &v, n * sizeof(float));
    return load(kept);
}

template <int N> struct Half {
    template <class T> INLINE float sum(T v) {
        typedef float W __attribute__((vector_size(N * 2)));
        W low, high;
        std::memcpy(&low, &v, sizeof low);
        std::memcpy(&high, (const char*)&v + sizeof low, sizeof high);
        return Half<N / 2>::sum(low + high);
    }
};
template <> struct Half<2> {
    template <class T> INLINE float sum(T v) { return v[0] + v[1]; }
};
INLINE float sum(V v) { return Half<LANES>::sum(v); }

INLINE V clamp(V x, float low, float high) {  // comparisons with NaN are false: it passes
    x = x < splat(low) ? splat(low) : x;
    return x > splat(high) ? splat(high) : x;
}
// tanh: x P(x^2)/Q(x^2), fitted for the relative error on [0, 9] (2e-8; 4e-7 after rounding).
INLINE V tanh(V x) {
    x = clamp(x, -9.f, 9.f);
    V y = x * x, p, q;
    p = fma(splat(1.33545549e-08f), y, splat(2.06090023e-05f));
    p = fma(fma(p, y, splat(3.49558318e-03f)), y, splat(1.33810215e-01f));
    p = fma(p, y, splat(9.99999979e-01f)) * x;
    q = fma(splat(7.77651369e-07f), y, splat(3.28562678e-04f));
    q = fma(fma(q, y, splat(2.58769633e-02f)), y, splat(4.67143371e-01f));
    q = fma(q, y, splat(1.f));
    return clamp(p / q, -1.f, 1.f);
}
// 1/x for 1 <= x < 1e37: to 2^-14 where the processor has such an estimate, else exactly.
INLINE V estimate(V x) {
#if defined(__AVX512F__)
    return _mm512_rcp14_ps(x);
#else
    return splat(1.f) / x;
#endif
}
INLINE V reciprocal(V x) {  // to the last bit or two
    V r = estimate(x);
    return fma(fma(-x, r, splat(1.f)), r, r);
}
// tanh to 7e-5: beside operands in bfloat16 (4e-3) that is nothing, and it takes half the time.
INLINE V rough_tanh(V x) {
    x = clamp(x, -9.f, 9.f);
    V y = x * x, p, q;
    p = fma(fma(splat(3.02323607e-06f), y, splat(2.06669375e-03f)), y, splat(1.20582767e-01f));
    q = fma(fma(splat(1.20375994e-04f), y, splat(2.00674848e-02f)), y, splat(4.53878393e-01f));
    p = fma(p, y, splat(9.99994097e-01f));
    q = fma(q, y, splat(1.f));
    return clamp(p * x * estimate(q), -1.f, 1.f);
}
template <class G> INLINE V tanh(V x) { return sizeof(G) == 2 ? rough_tanh(x) : tanh(x); }
template <class G> INLINE V sigmoid(V x) {
    return fma(splat(.5f), tanh<G>(x * splat(.5f)), splat(.5f));
}
// exp on [-87, 87], clamped outside: 2^n times a polynomial on [-ln2/2, ln2/2] (3e-9).
INLINE V exp(V x) {
    x = clamp(x, -87.f, 87.f);
    V shifted = fma(x, splat(1.44269504f), splat(12582912.f));
    V n = shifted - splat(12582912.f);
    V r = fma(n, splat(-1.42860682e-06f), fma(n, splat(-0.693145752f), x));
    V p = fma(splat(1.38145597e-03f), r, splat(8.36873558e-03f));
    p = fma(fma(p, r, splat(4.16683899e-02f)), r, splat(1.66665205e-01f));
    p = fma(fma(p, r, splat(4.99999934e-01f)), r, splat(1.f));
    p = fma(p, r, splat(1.f));
    V scaled = (V)((U)p + ((U)shifted << 23));
    return x == x ? scaled : x;
}
