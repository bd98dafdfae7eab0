/* Products of a few rows with a matrix, for decoding, where reading the matrix is all the work.

   y[r][o] = sum_i w[o][i] x[r][i] * scale[o] + bias[o];  all float32, or all bfloat16, or w int8 and the rest bfloat16.
   Each row of w is read once, asked for AHEAD bytes before it is needed and kept as little as KEEP says (prefetch); sums are float32.
   With int8 weights x is rounded to 15-bit whole numbers first, finer than its own 8 bits near its largest one. */

#include "../native/half.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef AHEAD /* kernel.py knows better for some processors */
#define AHEAD 256
#define KEEP 0
#endif
#define ASK(from) __builtin_prefetch((const char *)(from) + AHEAD, 0, KEEP)
#define LEVELS 16383 /* 16384 inputs * 127 * LEVELS over 32 lanes stays below 2^31 */

#if defined(__AVX512F__)
#define LANES 16
#else
#define LANES 8
#endif
typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef int32_t Wholes __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef int16_t Shorts __attribute__((vector_size(2 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(LANES)));

static inline Floats halves(const uint16_t *from) {
#if defined(__AVX512F__)
  return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)from)), 16); /* gcc makes four of two */
#else
  Halves half;
  memcpy(&half, from, sizeof half);
  Words word = __builtin_convertvector(half, Words) << 16;
  Floats wide;
  memcpy(&wide, &word, sizeof wide);
  return wide;
#endif
}

static inline float total(Floats parts) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)parts); /* by halves too, without a way through memory */
#else
  float lanes[LANES];
  memcpy(lanes, &parts, sizeof lanes);
  for (int width = LANES / 2; width; width /= 2)
    for (int lane = 0; lane < width; lane++) lanes[lane] += lanes[lane + width];
  return lanes[0];
#endif
}

static inline Floats floats(const float *from) {
  Floats found;
  memcpy(&found, from, sizeof found);
  return found;
}

static inline float dot_half(int64_t inputs, const uint16_t *w, const float *x) {
  Floats sums[4] = {0};
  int64_t i = 0;
  for (; i + 4 * LANES <= inputs; i += 4 * LANES) {
    ASK(w + i);
    if (LANES == 16) ASK((const char *)(w + i) + 64);
    for (int part = 0; part < 4; part++) sums[part] += halves(w + i + LANES * part) * floats(x + i + LANES * part);
  }
  float rest = total((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < inputs; i++) rest += widen(w[i]) * x[i];
  return rest;
}

static inline float dot_float(int64_t inputs, const float *w, const float *x) {
  Floats sums[4] = {0};
  int64_t i = 0;
  for (; i + 4 * LANES <= inputs; i += 4 * LANES)
    for (int part = 0; part < 4; part++) {
      if (LANES == 16 || part % 2 == 0) ASK(w + i + LANES * part);
      sums[part] += floats(w + i + LANES * part) * floats(x + i + LANES * part);
    }
  float rest = total((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < inputs; i++) rest += w[i] * x[i];
  return rest;
}

#if defined(__AVX512BW__)
typedef __m512i Lanes;
#define SHORTS(from) _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)(from)))
#define LOAD(from) _mm512_loadu_si512((const void *)(from))
#define PAIRS(a, b) _mm512_madd_epi16(a, b)
#define ADD(a, b) _mm512_add_epi32(a, b)
#elif defined(__AVX2__)
typedef __m256i Lanes;
#define SHORTS(from) _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(from)))
#define LOAD(from) _mm256_loadu_si256((const void *)(from))
#define PAIRS(a, b) _mm256_madd_epi16(a, b)
#define ADD(a, b) _mm256_add_epi32(a, b)
#endif

static inline float dot_byte(int64_t inputs, const int8_t *w, const int16_t *x) {
  int64_t i = 0;
  float rest = 0;
#if defined(__AVX2__)
  enum { WIDE = sizeof(Lanes) / 2 };
  Lanes sums[4] = {0};
  for (; i + 4 * WIDE <= inputs; i += 4 * WIDE) {
    ASK(w + i);
    if (WIDE == 32) ASK((const char *)(w + i) + 64);
    for (int part = 0; part < 4; part++)
      sums[part] = ADD(sums[part], PAIRS(SHORTS(w + i + WIDE * part), LOAD(x + i + WIDE * part)));
  }
  Floats wide = {0};
  for (int part = 0; part < 4; part++) {
    Wholes whole[sizeof(Lanes) / sizeof(Wholes)];
    memcpy(whole, &sums[part], sizeof sums[part]);
    for (unsigned at = 0; at < sizeof whole / sizeof *whole; at++) wide += __builtin_convertvector(whole[at], Floats);
  }
  rest = total(wide);
#else
  Floats sums[4] = {0};
  for (; i + 4 * LANES <= inputs; i += 4 * LANES) {
    ASK(w + i);
    for (int part = 0; part < 4; part++) {
      Bytes byte;
      Shorts most;
      memcpy(&byte, w + i + LANES * part, sizeof byte);
      memcpy(&most, x + i + LANES * part, sizeof most);
      sums[part] += __builtin_convertvector(__builtin_convertvector(byte, Shorts), Floats) * __builtin_convertvector(most, Floats);
    }
  }
  rest = total((sums[0] + sums[1]) + (sums[2] + sums[3]));
#endif
  for (; i < inputs; i++) rest += (float)w[i] * x[i];
  return rest;
}

void linear_float32(int64_t rows, int64_t inputs, int64_t outputs, const float *x, const float *w, const float *bias, float *y) {
#pragma omp parallel for schedule(static)
  for (int64_t o = 0; o < outputs; o++)
    for (int64_t r = 0; r < rows; r++)
      y[r * outputs + o] = dot_float(inputs, w + o * inputs, x + r * inputs) + (bias ? bias[o] : 0);
}

/* room: rows * inputs floats. */
void linear_bfloat16(int64_t rows, int64_t inputs, int64_t outputs, const uint16_t *x, const uint16_t *w, const uint16_t *bias,
                     float *room, uint16_t *y) {
  for (int64_t at = 0; at < rows * inputs; at++) room[at] = widen(x[at]);
#pragma omp parallel for schedule(static)
  for (int64_t o = 0; o < outputs; o++)
    for (int64_t r = 0; r < rows; r++)
      y[r * outputs + o] = narrow(dot_half(inputs, w + o * inputs, room + r * inputs) + (bias ? widen(bias[o]) : 0));
}

/* x as whole numbers; gives what one of them stands for: not a number where one of x is infinite or missing, as it should. */
static inline float round_row(int64_t inputs, const float *x, int16_t *whole) {
  float largest = 0, sum = 0;
  for (int64_t i = 0; i < inputs; i++) {
    largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    sum += fabsf(x[i]);
  }
  const float times = largest > 0 && isfinite(sum) ? LEVELS / largest : 0;
  for (int64_t i = 0; i < inputs; i++) whole[i] = (int16_t)rintf(x[i] * times);
  return isfinite(sum) ? largest / LEVELS : NAN;
}

/* room: (rows + 1) * (inputs + 1) floats: what a whole number of each row stands for, one row of x, all rows as whole numbers. */
void linear_int8(int64_t rows, int64_t inputs, int64_t outputs, const uint16_t *x, const int8_t *w, const float *scale,
                 const uint16_t *bias, float *room, uint16_t *y) {
  float *wide = room + rows;
  int16_t *whole = (int16_t *)(wide + inputs);
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t i = 0; i < inputs; i++) wide[i] = widen(x[r * inputs + i]);
    room[r] = round_row(inputs, wide, whole + r * inputs);
  }
#pragma omp parallel for schedule(static)
  for (int64_t o = 0; o < outputs; o++)
    for (int64_t r = 0; r < rows; r++)
      y[r * outputs + o] = narrow(dot_byte(inputs, w + o * inputs, whole + r * inputs) * scale[o] * room[r] + (bias ? widen(bias[o]) : 0));
}

/* The largest without its sign: without it, bits of larger numbers are larger. */
static inline uint16_t largest_half(int64_t inputs, const uint16_t *x) {
  Halves most = {0};
  int64_t i = 0;
  for (; i + LANES <= inputs; i += LANES) {
    Halves found;
    memcpy(&found, x + i, sizeof found);
    found &= 0x7fff;
    Halves more = (Halves)(found > most);
    most = (found & more) | (most & ~more);
  }
  uint16_t largest = 0;
  for (int lane = 0; lane < LANES; lane++) largest = most[lane] > largest ? most[lane] : largest;
  for (; i < inputs; i++) largest = (x[i] & 0x7fff) > largest ? x[i] & 0x7fff : largest;
  return largest;
}

/* Rows of x as whole numbers from -127 to 127 times one scale each; the scale of a row that holds no number is none. */
void round_rows(int64_t rows, int64_t inputs, const uint16_t *x, int8_t *whole, float *scale) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    const float most = widen(largest_half(inputs, x + r * inputs));
    const float times = isfinite(most) && most > 1e-30f ? 127 / most : 0;
    scale[r] = isfinite(most) ? most / 127 : NAN;
    int64_t i = 0;
    for (; i + LANES <= inputs; i += LANES) {
      Floats near = halves(x + r * inputs + i) * times + NEAREST;
      Wholes bits;
      memcpy(&bits, &near, sizeof bits);
#if defined(__AVX512F__)
      _mm_storeu_si128((void *)(whole + r * inputs + i), _mm512_cvtepi32_epi8((__m512i)bits)); /* one instruction, not many */
#else
      Bytes bytes = __builtin_convertvector(bits, Bytes);
      memcpy(whole + r * inputs + i, &bytes, sizeof bytes);
#endif
    }
    for (; i < inputs; i++) whole[r * inputs + i] = (int8_t)rintf(widen(x[r * inputs + i]) * times);
  }
}

/* What sums of products of whole numbers stand for, plus bias. */
void scale_sums(int64_t rows, int64_t outputs, const int32_t *sums, const float *row_scale, const float *scale, const uint16_t *bias,
                uint16_t *y) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t o = 0; o < outputs; o++) {
      const int64_t at = r * outputs + o;
      y[at] = narrow((float)sums[at] * (row_scale[r] * scale[o]) + (bias ? widen(bias[o]) : 0));
    }
}
