/* Blocks of 32 x 32 numbers for the processor's matrix unit (AMX): laid as it reads them, multiplied, and added up.

   Its registers are tiles of 16 rows of 64 bytes. A block of the left side is two tiles of 16 rows of 32 numbers. One of the
   right side is two tiles of 16 columns, in which numbers that lie under each other come in pairs. Sums are four tiles of
   16 x 16 float32 numbers: rows 0 to 15 with columns 0 to 15 and 16 to 31, then rows 16 to 31. */

#include <immintrin.h>
#include <stdint.h>

typedef uint16_t half;

#define SIDE 32             /* rows, columns and depth of a block: two tiles each way */
#define BLOCK (SIDE * SIDE) /* its numbers */
#define TILE (BLOCK / 2)    /* of these, bfloat16 numbers in a tile; half as many float32 */
#define INLINE static inline __attribute__((always_inline))

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t over(int64_t count, int64_t size) { return (count + size - 1) / size; }
INLINE __mmask32 first(int64_t count) { return count >= SIDE ? 0xffffffffu : count <= 0 ? 0 : (1u << count) - 1; }
INLINE __m512 widen_low(__m512i x) { return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(x)), 16); }
INLINE __m512 widen_high(__m512i x) { return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(x, 1)), 16); }
INLINE __m512i narrow(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

#include "activations.h"

/* 32 numbers of a row, the first few of which are there; zeros beyond the last row. */
INLINE __m512i row_of(const half *from, int64_t there, __mmask32 mask, int64_t kind) {
  __m512i x = there ? _mm512_maskz_loadu_epi16(mask, from) : _mm512_setzero_si512();
  return kind ? narrow(bend(kind, widen_low(x)), bend(kind, widen_high(x))) : x;
}

/* Where row i of a block's sums begins: columns 0 to 15; 16 to 31 are half a tile's bytes further. */
INLINE int64_t row_at(int64_t i) { return i / 16 * TILE + i % 16 * 16; }

/* 16 x 16 words turned. */
INLINE void turn(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

/* Of two rows, the pairs of numbers that lie under each other: of columns 0 to 15, and of columns 16 to 31. */
INLINE __m512i pair(__m512i above, __m512i below, int high) {
  __m512i spread = _mm512_set_epi32(0x2f000f, 0x2e000e, 0x2d000d, 0x2c000c, 0x2b000b, 0x2a000a, 0x290009, 0x280008, 0x270007,
                                    0x260006, 0x250005, 0x240004, 0x230003, 0x220002, 0x210001, 0x200000);
  return _mm512_permutex2var_epi16(above, high ? _mm512_add_epi16(spread, _mm512_set1_epi16(16)) : spread, below);
}

/* A block for the left side: two tiles of 16 rows. `from` is where it begins, in a matrix `width` wide. */
INLINE void lay_left(const half *from, int64_t width, int64_t rows, int64_t depth, int64_t kind, half *to) {
  __mmask32 mask = first(depth);
  for (int64_t i = 0; i < SIDE; i++) _mm512_store_si512(to + i * SIDE, row_of(from + i * width, i < rows, mask, kind));
}

/* The same from a turned matrix. */
INLINE void lay_left_turned(const half *from, int64_t width, int64_t rows, int64_t depth, int64_t kind, half *to) {
  __mmask32 mask = first(rows);
  for (int tile = 0; tile < 2; tile++) {
    __m512i r[16];
    for (int i = 0; i < 16; i++)
      r[i] = pair(row_of(from + 2 * i * width, 2 * i < depth, mask, kind), row_of(from + (2 * i + 1) * width, 2 * i + 1 < depth, mask, kind), tile);
    turn(r);
    for (int i = 0; i < 16; i++) _mm512_store_si512(to + tile * TILE + i * SIDE, r[i]);
  }
}

/* A block for the right side, from a turned matrix: two tiles of 16 columns, numbers behind each other in pairs. */
INLINE void lay_right_turned(const half *from, int64_t width, int64_t columns, int64_t depth, half *to) {
  __mmask32 mask = first(depth);
  for (int tile = 0; tile < 2; tile++) {
    __m512i r[16];
    for (int i = 0; i < 16; i++) r[i] = row_of(from + (16 * tile + i) * width, 16 * tile + i < columns, mask, 0);
    turn(r);
    for (int i = 0; i < 16; i++) _mm512_store_si512(to + tile * TILE + i * SIDE, r[i]);
  }
}

/* The same from a matrix that is not turned. */
INLINE void lay_right(const half *from, int64_t width, int64_t columns, int64_t depth, half *to) {
  __mmask32 mask = first(columns);
  for (int64_t i = 0; i < 16; i++) {
    __m512i above = row_of(from + 2 * i * width, 2 * i < depth, mask, 0), below = row_of(from + (2 * i + 1) * width, 2 * i + 1 < depth, mask, 0);
    _mm512_store_si512(to + i * SIDE, pair(above, below, 0));
    _mm512_store_si512(to + TILE + i * SIDE, pair(above, below, 1));
  }
}

/* Before the unit is used, by each thread; _tile_release() after. */
INLINE void begin_tiles(void) {
  struct { uint8_t palette, start, none[14]; uint16_t bytes[16]; uint8_t rows[16]; } __attribute__((packed)) shape = {.palette = 1};
  for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.rows[i] = 16;
  _tile_loadconfig(&shape);
}

INLINE void clear_sums(void) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

INLINE void load_sums(const float *sum) {
  _tile_loadd(0, sum, 64);
  _tile_loadd(1, sum + TILE / 2, 64);
  _tile_loadd(2, sum + TILE, 64);
  _tile_loadd(3, sum + TILE + TILE / 2, 64);
}

INLINE void store_sums(float *sum) {
  _tile_stored(0, sum, 64);
  _tile_stored(1, sum + TILE / 2, 64);
  _tile_stored(2, sum + TILE, 64);
  _tile_stored(3, sum + TILE + TILE / 2, 64);
}

/* Sums += a block of the left side times one of the right, which is not needed again as soon as the left. */
INLINE void add_block(const half *left, const half *right) {
  _tile_loadd(4, left, 64);
  _tile_stream_loadd(6, right, 64);
  _tile_dpbf16ps(0, 4, 6);
  _tile_stream_loadd(7, right + TILE, 64);
  _tile_dpbf16ps(1, 4, 7);
  _tile_loadd(5, left + TILE, 64);
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
}

/* A block of sums turned. */
static inline void turn_sums(float *sum) {
  for (int tile = 0; tile < 4; tile++) {
    __m512i r[16];
    for (int i = 0; i < 16; i++) r[i] = _mm512_load_si512(sum + tile * (TILE / 2) + 16 * i);
    turn(r);
    for (int i = 0; i < 16; i++) _mm512_store_si512(sum + tile * (TILE / 2) + 16 * i, r[i]);
  }
  for (int i = TILE / 2; i < TILE; i += 16) {
    __m512 above = _mm512_load_ps(sum + i), below = _mm512_load_ps(sum + i + TILE / 2);
    _mm512_store_ps(sum + i, below), _mm512_store_ps(sum + i + TILE / 2, above);
  }
}
