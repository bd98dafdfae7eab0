/* Attention by the matrix unit: a head's scores meet their softmax and their values while they are in the cache, and on the way
   back are worked out again (Dao et al. 2022, algorithms 1 and 4), so that memory grows with the length and not with its square.

   Each head of each row is the work of one thread. Weights are e^(score - largest of the row) in bfloat16; sums and quotients
   are float32. */

#include <math.h>
#include <string.h>

/* A tensor [row][head][place][number]: its steps, in numbers; the numbers of a place lie side by side. */
struct lain {
  half *at;
  int64_t row, head, step;
};

/* rows of `heads` heads; `size` numbers of a head. With causal, query i sees the first causal + i keys only; 0: all. seen is
   [row][query][key], on the way back [row][key][query], with its steps in bytes, or missing. normalizer [row][head][query]: the
   power of 2 by which weights are divided. */
struct heads {
  int64_t rows, heads, queries, keys, size, causal;
  struct lain query, key, value, mixed, grad, to_query, to_key, to_value;
  float *normalizer;
  const uint8_t *seen;
  int64_t seen_row, seen_step;
  int64_t seed;
  float scale, chance;
};

/* What a thread knows of its head: the row it is in, blocks of queries, of keys and of numbers, and scores to powers of 2. */
struct head {
  const struct heads *all;
  int64_t group, row, head, queries, keys, deep;
  float factor;
  uint32_t limit; /* of what is drawn for dropout */
};

static inline struct head head_of(const struct heads *all, int64_t group) {
  return (struct head){all, group, group / all->heads, group % all->heads, over(all->queries, SIDE), over(all->keys, SIDE),
                       over(all->size, SIDE), all->scale * 1.44269504f, (uint32_t)(all->chance * 4294967296.0)};
}

INLINE half *place_of(const struct head *head, const struct lain *x, int64_t block) {
  return x->at + head->row * x->row + head->head * x->head + block * SIDE * x->step;
}

/* 32 places as strips and panels need them; of a strip one block after another, of panels [number][place]. */
static void lay_places(const struct head *head, const struct lain *x, int64_t block, int64_t places, int turned, half *to) {
  for (int64_t k = 0; k < head->deep; k++, to += BLOCK) {
    const half *from = place_of(head, x, block) + k * SIDE;
    if (turned)
      lay_right_turned(from, x->step, places - block * SIDE, head->all->size - k * SIDE, to);
    else
      lay_left(from, x->step, places - block * SIDE, head->all->size - k * SIDE, 0, to);
  }
}

static void lay_depth(const struct head *head, const struct lain *x, int64_t places, half *to) {
  for (int64_t k = 0; k < head->deep; k++)
    for (int64_t block = 0; block < over(places, SIDE); block++, to += BLOCK)
      lay_right(place_of(head, x, block) + k * SIDE, x->step, head->all->size - k * SIDE, places - block * SIDE, to);
}

/* 32 rows of sums, times a factor each (or 1), to 32 places. */
static void write_places(const struct head *head, const struct lain *x, int64_t block, int64_t places, const float *sums, const float *factors) {
  for (int64_t k = 0; k < head->deep; k++, sums += BLOCK)
    for (int64_t i = 0; i < least(SIDE, places - block * SIDE); i++) {
      const float *from = sums + i / 16 * TILE + i % 16 * 16;
      __m512 factor = _mm512_set1_ps(factors ? factors[i] : 1.0f);
      __m512 low = _mm512_mul_ps(factor, _mm512_load_ps(from)), high = _mm512_mul_ps(factor, _mm512_load_ps(from + TILE / 2));
      _mm512_mask_storeu_epi16(place_of(head, x, block) + i * x->step + k * SIDE, first(head->all->size - k * SIDE), narrow(low, high));
    }
}

/* sums = strip * panel over so many blocks. */
INLINE void multiply_blocks(int64_t deep, const half *strip, const half *panel, float *sums) {
  clear_sums();
  for (int64_t k = 0; k < deep; k++) add_block(strip + k * BLOCK, panel + k * BLOCK);
  store_sums(sums);
}

/* Of 32 keys from `key` on, those that a query sees. */
INLINE __mmask32 keys_seen(const struct head *head, int64_t query, int64_t key) {
  const struct heads *all = head->all;
  __mmask32 mask = first((all->causal ? least(all->causal + query, all->keys) : all->keys) - key);
  if (!all->seen || !mask || query >= all->queries) return query < all->queries ? mask : 0;
  __m256i bytes = _mm256_maskz_loadu_epi8(mask, all->seen + head->row * all->seen_row + query * all->seen_step + key);
  return _mm256_test_epi8_mask(bytes, bytes);
}

/* Of 32 queries from `query` on, those that see a key. */
INLINE __mmask32 queries_seeing(const struct head *head, int64_t key, int64_t query) {
  const struct heads *all = head->all;
  __mmask32 mask = first(all->queries - query) & ~(all->causal ? first(key - all->causal + 1 - query) : 0);
  if (!all->seen || !mask || key >= all->keys) return key < all->keys ? mask : 0;
  __m256i bytes = _mm256_maskz_loadu_epi8(mask, all->seen + head->row * all->seen_row + key * all->seen_step + query);
  return _mm256_test_epi8_mask(bytes, bytes);
}

/* Which blocks of keys any of 32 queries sees, or with `back` which blocks of queries see any of 32 keys; their number. */
static int64_t find_blocks(const struct head *head, int64_t block, int back, int64_t *found) {
  int64_t count = 0;
  for (int64_t other = 0; other < (back ? head->queries : head->keys); other++) {
    __mmask32 any = 0;
    for (int64_t i = SIDE - 1; i >= 0 && !any; i--)
      any = back ? queries_seeing(head, block * SIDE + SIDE - 1 - i, other * SIDE) : keys_seen(head, block * SIDE + i, other * SIDE);
    if (any) found[count++] = other;
  }
  return count;
}

/* Bits that look random, from any (the finalizer of MurmurHash3, Appleby 2011). */
INLINE __m512i mix_bits(__m512i bits) {
  bits = _mm512_mullo_epi32(_mm512_xor_si512(bits, _mm512_srli_epi32(bits, 16)), _mm512_set1_epi32((int)0x85ebca6bu));
  bits = _mm512_mullo_epi32(_mm512_xor_si512(bits, _mm512_srli_epi32(bits, 13)), _mm512_set1_epi32((int)0xc2b2ae35u));
  return _mm512_xor_si512(bits, _mm512_srli_epi32(bits, 16));
}

/* Dropout: which of 16 weights stay, from what was drawn for their queries and the numbers of their keys. */
INLINE __mmask16 stays(const struct head *head, __m512i drawn, __m512i keys) {
  return _mm512_cmpge_epu32_mask(mix_bits(_mm512_add_epi32(drawn, keys)), _mm512_set1_epi32((int)head->limit));
}

INLINE __m512i count_from(int64_t start) {
  return _mm512_add_epi32(_mm512_set1_epi32((int)start), _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
}

/* What is drawn for 16 queries from `query` on. */
INLINE __m512i draw(const struct head *head, int64_t query) {
  __m512i seed = mix_bits(_mm512_set1_epi32((int)head->all->seed));
  return mix_bits(_mm512_add_epi32(mix_bits(_mm512_add_epi32(seed, _mm512_set1_epi32((int)head->group))), count_from(query)));
}

/* Scores of 32 queries become weights: of the blocks found, sums to blocks of the left side. shares: by what the products of the
   weights are multiplied. */
static void weigh(const struct head *head, int64_t strip, int64_t count, const int64_t *found, const float *sums, half *weights, float *shares) {
  const struct heads *all = head->all;
  float growth = 1.0f / (1.0f - all->chance);
  for (int64_t i = 0; i < SIDE; i++) {
    int64_t query = strip * SIDE + i;
    __m512 low = _mm512_set1_ps(-INFINITY), high = low, total = _mm512_setzero_ps(), factor = _mm512_set1_ps(head->factor);
    const float *row = sums + i / 16 * TILE + i % 16 * 16;
    for (int64_t n = 0; n < count; n++) {
      __mmask32 mask = keys_seen(head, query, found[n] * SIDE);
      low = _mm512_mask_max_ps(low, (__mmask16)mask, low, _mm512_load_ps(row + n * BLOCK));
      high = _mm512_mask_max_ps(high, (__mmask16)(mask >> 16), high, _mm512_load_ps(row + n * BLOCK + TILE / 2));
    }
    float largest = _mm512_reduce_max_ps(_mm512_max_ps(low, high)) * head->factor;
    __m512 base = _mm512_set1_ps(largest == -INFINITY ? 0.0f : largest);
    __m512i drawn = all->chance > 0.0f ? _mm512_set1_epi32(_mm_cvtsi128_si32(_mm512_castsi512_si128(draw(head, query)))) : _mm512_setzero_si512();
    for (int64_t n = 0; n < count; n++) {
      __mmask32 mask = keys_seen(head, query, found[n] * SIDE);
      low = power_of_2(_mm512_fmsub_ps(_mm512_load_ps(row + n * BLOCK), factor, base));
      high = power_of_2(_mm512_fmsub_ps(_mm512_load_ps(row + n * BLOCK + TILE / 2), factor, base));
      low = _mm512_maskz_mov_ps((__mmask16)mask, low), high = _mm512_maskz_mov_ps((__mmask16)(mask >> 16), high);
      total = _mm512_add_ps(total, _mm512_add_ps(low, high));
      if (all->chance > 0.0f) {
        low = _mm512_maskz_mov_ps(stays(head, drawn, count_from(found[n] * SIDE)), low);
        high = _mm512_maskz_mov_ps(stays(head, drawn, count_from(found[n] * SIDE + 16)), high);
      }
      _mm512_store_si512(weights + n * BLOCK + i * SIDE, narrow(low, high));
    }
    float sum = _mm512_reduce_add_ps(total);
    shares[i] = sum > 0.0f ? growth / sum : 0.0f;
    if (query < all->queries)
      all->normalizer[head->group * all->queries + query] = sum > 0.0f ? _mm512_cvtss_f32(base) + log2f(sum) : INFINITY;
  }
}

/* The memory of a thread, in the order of its use: what it says is taken from it. */
INLINE void *take(float **room, int64_t blocks, int64_t size) {
  void *taken = *room;
  *room += blocks * BLOCK * size / (int64_t)sizeof(float);
  return taken;
}

static void mix_head(const struct head *head, float *room) {
  const struct heads *all = head->all;
  half *keys = take(&room, head->keys * head->deep, sizeof(half)), *values = take(&room, head->keys * head->deep, sizeof(half));
  half *weights = take(&room, head->keys, sizeof(half)), *strip = take(&room, head->deep, sizeof(half));
  float *sums = take(&room, head->keys, sizeof(float)), *made = take(&room, head->deep, sizeof(float));
  int64_t *found = take(&room, over(head->keys, BLOCK), sizeof(int64_t));
  float shares[SIDE];
  for (int64_t block = 0; block < head->keys; block++) lay_places(head, &all->key, block, all->keys, 1, keys + block * head->deep * BLOCK);
  lay_depth(head, &all->value, all->keys, values);
  for (int64_t block = 0; block < head->queries; block++) {
    int64_t count = find_blocks(head, block, 0, found);
    lay_places(head, &all->query, block, all->queries, 0, strip);
    for (int64_t n = 0; n < count; n++) multiply_blocks(head->deep, strip, keys + found[n] * head->deep * BLOCK, sums + n * BLOCK);
    weigh(head, block, count, found, sums, weights, shares);
    for (int64_t k = 0; k < head->deep; k++) {
      clear_sums();
      for (int64_t n = 0; n < count; n++) add_block(weights + n * BLOCK, values + (k * head->keys + found[n]) * BLOCK);
      store_sums(made + k * BLOCK);
    }
    write_places(head, &all->mixed, block, all->queries, made, shares);
  }
}

/* Scores of 32 keys with the blocks of queries found become their weights, and the gradients of the weights those of the scores; both
   as blocks of the left side. normalizer, along: of each query, what divides its weights, and what their gradients have in common. */
static void weigh_back(const struct head *head, int64_t strip, int64_t n, int64_t block, const float *scores, const float *grads,
                       const float *normalizer, const float *along, half *weights, half *steps) {
  const struct heads *all = head->all;
  __m512 growth = _mm512_set1_ps(1.0f / (1.0f - all->chance)), factor = _mm512_set1_ps(head->factor), scale = _mm512_set1_ps(all->scale);
  for (int half_block = 0; half_block < 2; half_block++) {
    int64_t query = block * SIDE + half_block * 16, at = n * BLOCK + half_block * (TILE / 2);
    __m512 base = _mm512_loadu_ps(normalizer + query), common = _mm512_loadu_ps(along + query);
    __m512i drawn = all->chance > 0.0f ? draw(head, query) : _mm512_setzero_si512();
    for (int64_t i = 0; i < SIDE; i++) {
      int64_t key = strip * SIDE + i, row = at + i / 16 * TILE + i % 16 * 16;
      __mmask16 mask = (__mmask16)(queries_seeing(head, key, block * SIDE) >> (16 * half_block));
      __m512 weight = _mm512_maskz_mov_ps(mask, power_of_2(_mm512_fmsub_ps(_mm512_load_ps(scores + row), factor, base)));
      __m512 grad = _mm512_load_ps(grads + row), kept = weight;
      if (all->chance > 0.0f) {
        __mmask16 stay = stays(head, drawn, _mm512_set1_epi32((int)key));
        grad = _mm512_maskz_mul_ps(stay, grad, growth), kept = _mm512_maskz_mul_ps(stay, weight, growth);
      }
      __m512 step = _mm512_maskz_mul_ps(mask, _mm512_mul_ps(weight, scale), _mm512_sub_ps(grad, common));
      _mm256_store_si256((__m256i *)(weights + n * BLOCK + i * SIDE + 16 * half_block), (__m256i)_mm512_cvtneps_pbh(kept));
      _mm256_store_si256((__m256i *)(steps + n * BLOCK + i * SIDE + 16 * half_block), (__m256i)_mm512_cvtneps_pbh(step));
    }
  }
}

/* along[query]: the sum of grad * mixed; of each query the part that the gradients of its weights have in common. */
static void sum_along(const struct head *head, float *along) {
  const struct heads *all = head->all;
  for (int64_t query = 0; query < all->queries; query++) {
    const half *grad = place_of(head, &all->grad, 0) + query * all->grad.step, *mixed = place_of(head, &all->mixed, 0) + query * all->mixed.step;
    __m512 sum = _mm512_setzero_ps();
    for (int64_t k = 0; k < all->size; k += SIDE) {
      __m512i x = _mm512_maskz_loadu_epi16(first(all->size - k), grad + k), y = _mm512_maskz_loadu_epi16(first(all->size - k), mixed + k);
      sum = _mm512_fmadd_ps(widen_low(x), widen_low(y), _mm512_fmadd_ps(widen_high(x), widen_high(y), sum));
    }
    along[query] = _mm512_reduce_add_ps(sum);
  }
}

static void mix_head_back(const struct head *head, float *room) {
  const struct heads *all = head->all;
  int64_t deep = head->deep, queries = head->queries, size = sizeof(half), places = over(queries, SIDE);
  half *query_panels = take(&room, queries * deep, size), *grad_panels = take(&room, queries * deep, size);
  half *query_depth = take(&room, queries * deep, size), *grad_depth = take(&room, queries * deep, size);
  half *keys = take(&room, deep, size), *values = take(&room, deep, size), *turned = take(&room, deep, size);
  half *weights = take(&room, queries, size), *steps = take(&room, queries, size), *pairs = take(&room, 1, size);
  float *scores = take(&room, queries, sizeof(float)), *grads = take(&room, queries, sizeof(float)), *made = take(&room, deep, sizeof(float));
  float *to_query = take(&room, queries * deep, sizeof(float));
  float *along = take(&room, places, sizeof(float)), *normalizer = take(&room, places, sizeof(float));
  int64_t *found = take(&room, over(queries, BLOCK), sizeof(int64_t));
  memset(to_query, 0, queries * deep * BLOCK * sizeof(float));
  memset(along, 0, places * BLOCK * sizeof(float)), memset(normalizer, 0, places * BLOCK * sizeof(float));
  memcpy(normalizer, all->normalizer + head->group * all->queries, all->queries * sizeof(float));
  sum_along(head, along);
  for (int64_t block = 0; block < queries; block++) {
    lay_places(head, &all->query, block, all->queries, 1, query_panels + block * deep * BLOCK);
    lay_places(head, &all->grad, block, all->queries, 1, grad_panels + block * deep * BLOCK);
  }
  lay_depth(head, &all->query, all->queries, query_depth);
  lay_depth(head, &all->grad, all->queries, grad_depth);
  for (int64_t strip = 0; strip < head->keys; strip++) {
    int64_t count = find_blocks(head, strip, 1, found);
    lay_places(head, &all->key, strip, all->keys, 0, keys);
    lay_places(head, &all->value, strip, all->keys, 0, values);
    for (int64_t k = 0; k < deep; k++)
      lay_left_turned(place_of(head, &all->key, strip) + k * SIDE, all->key.step, all->size - k * SIDE, all->keys - strip * SIDE, 0, turned + k * BLOCK);
    for (int64_t n = 0; n < count; n++) {
      multiply_blocks(deep, keys, query_panels + found[n] * deep * BLOCK, scores + n * BLOCK);
      multiply_blocks(deep, values, grad_panels + found[n] * deep * BLOCK, grads + n * BLOCK);
    }
    for (int64_t n = 0; n < count; n++) {
      weigh_back(head, strip, n, found[n], scores, grads, normalizer, along, weights, steps);
      lay_right(steps + n * BLOCK, SIDE, SIDE, SIDE, pairs);
      for (int64_t k = 0; k < deep; k++) { /* turned: numbers of a head by queries */
        float *sums = to_query + (found[n] * deep + k) * BLOCK;
        load_sums(sums);
        add_block(turned + k * BLOCK, pairs);
        store_sums(sums);
      }
    }
    for (int value = 0; value < 2; value++) {
      for (int64_t k = 0; k < deep; k++) {
        clear_sums();
        for (int64_t n = 0; n < count; n++)
          add_block((value ? weights : steps) + n * BLOCK, (value ? grad_depth : query_depth) + (k * queries + found[n]) * BLOCK);
        store_sums(made + k * BLOCK);
      }
      write_places(head, value ? &all->to_value : &all->to_key, strip, all->keys, made, NULL);
    }
  }
  for (int64_t block = 0; block < queries; block++) {
    for (int64_t k = 0; k < deep; k++) turn_sums(to_query + (block * deep + k) * BLOCK);
    write_places(head, &all->to_query, block, all->queries, to_query + block * deep * BLOCK, NULL);
  }
}

/* The memory of a thread, in float32 numbers. */
static int64_t room_of(const struct heads *all, int back) {
  struct head head = head_of(all, 0);
  int64_t deep = head.deep, keys = head.keys, queries = head.queries;
  if (back) return (4 * queries * deep + 3 * deep + 2 * queries + 1) * BLOCK / 2 + (2 * queries + deep + queries * deep + 4 * over(queries, SIDE)) * BLOCK;
  return (2 * keys * deep + keys + deep) * BLOCK / 2 + (keys + deep + 2 * over(keys, BLOCK)) * BLOCK;
}

int64_t heads_room(const struct heads *all, int64_t back) { return omp_get_max_threads() * room_of(all, back); }

void mix_heads(const struct heads *all, int64_t back, float *room) {
#pragma omp parallel
  {
    begin_tiles();
#pragma omp for schedule(dynamic, 1)
    for (int64_t group = 0; group < all->rows * all->heads; group++) {
      struct head head = head_of(all, group);
      (back ? mix_head_back : mix_head)(&head, room + omp_get_thread_num() * room_of(all, back));
    }
    _tile_release();
  }
}
