// Dropout masks from a counter: the bits of native/masks.py, which explains them.
#pragma once
#include "memory.h"
#include "vector.h"

INLINE uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}
inline void keep_mask(uint64_t key, const int64_t* example, long B, int64_t start, int64_t step,
                      long T, long width, uint32_t threshold, float scale, float* out,
                      int threads) {
    U counted;
    for (long j = 0; j < LANES; j++) counted[j] = (uint32_t)j * 0x9E3779B9u;
    over_rows(B, threads, [&](long first, long last) {
        for (long b = first; b < last; b++) {
            uint64_t row = mix(key + 0x9E3779B97F4A7C15u +
                               (uint64_t)example[b] * 0xD1B54A32D192ED03u);
            for (long t = 0; t < T; t++) {
                uint64_t seed = mix(row + (uint64_t)(start + t * step) * 0x8CB92BA72F3D8DD7u);
                float* to = out + (b * T + t) * width;
                for (long d = 0; d < width; d += LANES) {
                    U x = counted + ((uint32_t)seed + (uint32_t)d * 0x9E3779B9u);
                    x = (x ^ (x >> 16)) * 0x7FEB352Du;
                    x ^= (x >> 15) ^ (uint32_t)(seed >> 32);
                    x *= 0x846CA68Bu;
                    x ^= x >> 16;
                    I kept = (I)(x >> 8) < (I)(threshold - (U){});
                    store(to + d, (V)(kept & (I)splat(scale)), width - d);
                }
            }
        }
    });
}
