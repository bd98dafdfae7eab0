/* bfloat16: the upper half of a float. */

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
