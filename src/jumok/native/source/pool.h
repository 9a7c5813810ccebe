// Pooling by a forget gate, c = f c + (1 - f) u, and the way back through it; no products.
#pragma once
#include "memory.h"
#include "vector.h"

struct Pool {
    int threads;
    long B, T, size;
    const float *a, *u, *v, *c0;  // [B][T][size] twice, [size] and [B][size] or absent
    float* c;                     // [B][T][size]

    V past(long b, long t, long unit) const {  // the cell that step t starts from
        const float* from = t ? c + (b * T + t - 1) * size : c0 ? c0 + b * size : nullptr;
        return from ? load(from + unit, size - unit) : (V){};
    }
    V gate(long at, long unit, V before) const {
        V z = load(a + at + unit, size - unit);
        if (v) z = fma(load(v + unit, size - unit), before, z);
        return sigmoid<float>(z);
    }
    void forward() const {
        over_rows(B, threads, [&](long first, long last) {
            for (long b = first; b < last; b++)
                for (long t = 0; t < T; t++)
                    for (long unit = 0; unit < size; unit += LANES) {
                        long at = (b * T + t) * size;
                        V before = past(b, t, unit), new_ = load(u + at + unit, size - unit);
                        V f = gate(at, unit, before);
                        store(c + at + unit, fma(f, before - new_, new_), size - unit);
                    }
        });
    }
    // `dpast` [B][size] carries the gradient through time and ends as that of c0; `dv` holds a
    // row's share each, so that the sum does not depend on how rows were cut into blocks.
    void backward(const float* dc, float* da, float* du, float* dv, float* dpast) const {
        over_rows(B, threads, [&](long first, long last) {
            for (long b = first; b < last; b++) {
                std::memset(dpast + b * size, 0, size * sizeof(float));
                if (v) std::memset(dv + b * size, 0, size * sizeof(float));
                for (long t = T - 1; t >= 0; t--)
                    for (long unit = 0; unit < size; unit += LANES)
                        back(b, t, unit, dc, da, du, dv, dpast);
            }
        });
    }
    void back(long b, long t, long unit, const float* dc, float* da, float* du, float* dv,
              float* dpast) const {
        long at = (b * T + t) * size, n = size - unit;
        float *carried = dpast + b * size + unit, *share = dv + b * size + unit;
        V before = past(b, t, unit), f = gate(at, unit, before), one = splat(1.f);
        V g = load(dc + at + unit, n) + load(carried, n);
        V dz = g * (before - load(u + at + unit, n)) * f * (one - f), on = g * f;
        store(da + at + unit, dz, n);
        store(du + at + unit, g - on, n);
        if (v) {
            store(share, fma(dz, before, load(share, n)), n);
            on = fma(dz, load(v + unit, n), on);
        }
        store(carried, on, n);
    }
};
