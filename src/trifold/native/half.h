/* bfloat16, the upper half of a float; and e^x. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define NEAREST 12582912.0f /* a float near it ends in the nearest whole number of what was added to it */

static inline float widen(uint16_t half) {
  uint32_t word = (uint32_t)half << 16;
  float wide;
  memcpy(&wide, &word, 4);
  return wide;
}

/* To the nearest, ties to even; what is not a number stays so. */
static inline uint16_t narrow(float wide) {
  uint32_t word;
  memcpy(&word, &wide, 4);
  return wide != wide ? 0x7fc0 : (word + 0x7fff + ((word >> 16) & 1)) >> 16;
}

/* e^x to 2e-7 of itself; 0 below -87, infinite above 88. */
static inline float power(float x) {
  float near = x > 88.0f ? 88.0f : x;
  float whole = (near * 1.44269504f + NEAREST) - NEAREST;
  float rest = (near - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float series = 1.0f + rest * (1.0f + rest * (0.5f + rest * (0.16666667f + rest * (0.041666668f + rest * (0.0083333705f + rest * 0.0013888949f)))));
  int32_t bits = ((int32_t)whole + 127) << 23;
  float scale;
  memcpy(&scale, &bits, 4);
  return x < -87.0f ? 0.0f : x > 88.0f ? INFINITY : series * scale;
}
