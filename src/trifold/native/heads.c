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
   [row][key][block of queries], a bit for each query, or missing; its steps are in words. normalizer [2][row][head][query]: the
   power of 2 that is taken from a query's scores, and by what its weights are multiplied then. */
struct heads {
  int64_t rows, heads, queries, keys, size, causal;
  struct lain query, key, value, mixed, grad, to_query, to_key, to_value;
  float *normalizer;
  const uint32_t *seen;
  int64_t seen_row, seen_step;
  int64_t seed;
  float scale, chance;
};

/* What a thread knows of its head: the row it is in, blocks of queries, of keys and of numbers, scores to powers of 2, and dropout. */
struct head {
  const struct heads *all;
  int64_t group, row, head, queries, keys, deep;
  __m512 factor, growth;
  __m512i limit;
};

static struct head head_of(const struct heads *all, int64_t group) {
  return (struct head){all, group, group / all->heads, group % all->heads, over(all->queries, SIDE), over(all->keys, SIDE),
                       over(all->size, SIDE), _mm512_set1_ps(all->scale * 1.44269504f), _mm512_set1_ps(1.0f / (1.0f - all->chance)),
                       _mm512_set1_epi32((int)(uint32_t)(all->chance * 4294967296.0))};
}

INLINE half *place_of(const struct head *head, const struct lain *x, int64_t block) {
  return x->at + head->row * x->row + head->head * x->head + block * SIDE * x->step;
}

/* 32 places, [number] in blocks: a strip of them, or a panel. */
static void lay_places(const struct head *head, const struct lain *x, int64_t block, int64_t places, int is_panel, half *to) {
  for (int64_t k = 0; k < head->deep; k++, to += BLOCK) {
    const half *from = place_of(head, x, block) + k * SIDE;
    if (is_panel)
      lay_right_turned(from, x->step, places - block * SIDE, head->all->size - k * SIDE, to);
    else
      lay_left(from, x->step, places - block * SIDE, head->all->size - k * SIDE, 0, to);
  }
}

/* Some blocks of places, [number][place] in blocks, to be summed over: for strips of numbers, or panels of them. */
static void lay_numbers(const struct head *head, const struct lain *x, int64_t from_block, int64_t to_block, int64_t places, int is_panel, half *to) {
  for (int64_t k = 0; k < head->deep; k++)
    for (int64_t block = from_block; block < to_block; block++, to += BLOCK) {
      const half *from = place_of(head, x, block) + k * SIDE;
      if (is_panel)
        lay_right(from, x->step, head->all->size - k * SIDE, places - block * SIDE, to);
      else
        lay_left_turned(from, x->step, head->all->size - k * SIDE, places - block * SIDE, 0, to);
    }
}

/* 32 rows of sums, times a factor each (or 1), to 32 places. */
static void write_places(const struct head *head, const struct lain *x, int64_t block, int64_t places, const float *sums, const float *factors) {
  for (int64_t k = 0; k < head->deep; k++, sums += BLOCK)
    for (int64_t i = 0; i < least(SIDE, places - block * SIDE); i++) {
      const float *from = sums + row_at(i);
      __m512 factor = _mm512_set1_ps(factors ? factors[i] : 1.0f);
      __m512 low = _mm512_mul_ps(factor, _mm512_load_ps(from)), high = _mm512_mul_ps(factor, _mm512_load_ps(from + TILE / 2));
      _mm512_mask_storeu_epi16(place_of(head, x, block) + i * x->step + k * SIDE, first(head->all->size - k * SIDE), narrow(low, high));
    }
}

/* Ask for 32 places of the head that comes next: its lines lie apart, so that the processor does not guess them. */
static void ask_for(const struct head *head, const struct lain *x, int64_t block, int64_t places) {
  struct head next = *head;
  next.group++, next.row = next.group / head->all->heads, next.head = next.group % head->all->heads;
  if (next.row == head->all->rows) return;
  const half *from = place_of(&next, x, block);
  for (int64_t i = 0; i < least(SIDE, places - block * SIDE); i++, from += x->step)
    for (int64_t k = 0; k < head->all->size; k += SIDE) _mm_prefetch(from + k, _MM_HINT_T1);
}

/* Of 32 queries from `query` on, those that see a key. */
INLINE __mmask32 seeing(const struct head *head, int64_t key, int64_t query) {
  const struct heads *all = head->all;
  __mmask32 mask = first(all->queries - query) & ~(all->causal ? first(key - all->causal + 1 - query) : 0);
  if (key >= all->keys) return 0;
  return all->seen ? mask & all->seen[head->row * all->seen_row + key * all->seen_step + query / SIDE] : mask;
}

/* seen [row][query][key], of bytes, its steps in bytes, to bits [row][key][block of queries]. */
void pack_mask(int64_t rows, int64_t queries, int64_t keys, const uint8_t *seen, int64_t seen_row, int64_t seen_query, uint32_t *bits) {
  int64_t blocks = over(queries, SIDE);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t row = 0; row < rows; row++)
    for (int64_t block = 0; block < blocks; block++)
      for (int64_t key = 0; key < keys; key += SIDE) {
        uint32_t words[SIDE] = {0}; /* of each query, a bit for each key */
        for (int64_t i = 0; i < least(SIDE, queries - block * SIDE); i++) {
          const uint8_t *from = seen + row * seen_row + (block * SIDE + i) * seen_query + key;
          __m256i bytes = _mm256_maskz_loadu_epi8(first(keys - key), from);
          words[i] = _mm256_test_epi8_mask(bytes, bytes);
        }
        __m512i low = _mm512_loadu_si512(words), high = _mm512_loadu_si512(words + 16);
        for (int64_t i = 0; i < least(SIDE, keys - key); i++) {
          __m512i bit = _mm512_set1_epi32((int)(1u << i));
          bits[(row * keys + key + i) * blocks + block] = _mm512_test_epi32_mask(low, bit) | (uint32_t)_mm512_test_epi32_mask(high, bit) << 16;
        }
      }
}

/* A block of keys or queries, and whether all of it see all. */
struct met {
  int32_t block, whole;
};

/* The blocks of queries that see any of a block of keys or, with `of_queries`, of keys that any of a block of queries sees. Without
   bits, the first key of a block is seen by the most queries, and the last by the fewest. */
static int64_t find_met(const struct head *head, int64_t block, int of_queries, struct met *found) {
  int64_t count = 0;
  for (int64_t other = 0; other < (of_queries ? head->keys : head->queries); other++) {
    int64_t key = (of_queries ? other : block) * SIDE, query = (of_queries ? block : other) * SIDE;
    __mmask32 any = seeing(head, key, query), every = any & seeing(head, key + SIDE - 1, query);
    for (int64_t i = 1; i < SIDE && head->all->seen; i++) any |= seeing(head, key + i, query), every &= seeing(head, key + i, query);
    if (any) found[count++] = (struct met){(int32_t)other, every == 0xffffffffu};
  }
  return count;
}

/* Bits that look random, from any (the finalizer of MurmurHash3, Appleby 2011). */
INLINE __m512i mix_bits(__m512i bits) {
  bits = _mm512_mullo_epi32(_mm512_xor_si512(bits, _mm512_srli_epi32(bits, 16)), _mm512_set1_epi32((int)0x85ebca6bu));
  bits = _mm512_mullo_epi32(_mm512_xor_si512(bits, _mm512_srli_epi32(bits, 13)), _mm512_set1_epi32((int)0xc2b2ae35u));
  return _mm512_xor_si512(bits, _mm512_srli_epi32(bits, 16));
}

/* Dropout: which of 16 weights stay, from what was drawn for their queries and the number of their key. */
INLINE __mmask16 stays(const struct head *head, __m512i drawn, int64_t key) {
  return _mm512_cmpge_epu32_mask(mix_bits(_mm512_add_epi32(drawn, _mm512_set1_epi32((int)key))), head->limit);
}

/* What is drawn for 16 queries from `query` on. */
INLINE __m512i draw(const struct head *head, int64_t query) {
  __m512i seed = mix_bits(_mm512_set1_epi32((int)head->all->seed));
  __m512i count = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  seed = mix_bits(_mm512_add_epi32(seed, _mm512_set1_epi32((int)head->group)));
  return mix_bits(_mm512_add_epi32(seed, _mm512_add_epi32(_mm512_set1_epi32((int)query), count)));
}

INLINE __m512 weight_of(const struct head *head, __mmask16 mask, const float *score, __m512 base) {
  return _mm512_maskz_mov_ps(mask, power_of_2(_mm512_fmsub_ps(_mm512_load_ps(score), head->factor, base)));
}

/* Scores of keys with 32 queries become weights, as panels of queries. normalizer: that of the queries. */
static void weigh(const struct head *head, int64_t block, int64_t count, const struct met *met, const float *scores, half *weights,
                  float normalizer[2][SIDE]) {
  int drops = head->all->chance > 0.0f;
  for (int side = 0; side < 2; side++) { /* 16 queries */
    const float *score = scores + side * (TILE / 2);
    __m512 largest = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
    for (int64_t n = 0; n < count; n++)
      for (int64_t i = 0; i < SIDE; i++) {
        __mmask16 mask = met[n].whole ? 0xffff : (__mmask16)(seeing(head, met[n].block * SIDE + i, block * SIDE) >> (16 * side));
        largest = _mm512_mask_max_ps(largest, mask, largest, _mm512_load_ps(score + n * BLOCK + row_at(i)));
      }
    largest = _mm512_mask_mov_ps(largest, _mm512_cmpeq_ps_mask(largest, _mm512_set1_ps(-INFINITY)), _mm512_setzero_ps());
    __m512 base = _mm512_mul_ps(largest, head->factor);
    __m512i drawn = drops ? draw(head, block * SIDE + side * 16) : _mm512_setzero_si512();
    for (int64_t n = 0; n < count; n++)
      for (int64_t i = 0; i < SIDE; i += 2) {
        int64_t key = met[n].block * SIDE + i;
        __mmask16 mask[2] = {0xffff, 0xffff};
        for (int next = 0; next < 2 && !met[n].whole; next++) mask[next] = (__mmask16)(seeing(head, key + next, block * SIDE) >> (16 * side));
        __m512 above = weight_of(head, mask[0], score + n * BLOCK + row_at(i), base);
        __m512 below = weight_of(head, mask[1], score + n * BLOCK + row_at(i + 1), base);
        sum = _mm512_add_ps(sum, _mm512_add_ps(above, below));
        if (drops) {
          above = _mm512_maskz_mov_ps(stays(head, drawn, key), above);
          below = _mm512_maskz_mov_ps(stays(head, drawn, key + 1), below);
        }
        _mm512_store_si512(weights + n * BLOCK + side * TILE + i / 2 * SIDE, pair(narrow(above, above), narrow(below, below), 0));
      }
    _mm512_storeu_ps(normalizer[0] + side * 16, base);
    _mm512_storeu_ps(normalizer[1] + side * 16, _mm512_maskz_div_ps(_mm512_cmplt_ps_mask(_mm512_setzero_ps(), sum), _mm512_set1_ps(1.0f), sum));
  }
}

/* sums = strip * panel over so many blocks. */
INLINE void multiply_blocks(int64_t deep, const half *strip, const half *panel, float *sums) {
  clear_sums();
  for (int64_t k = 0; k < deep; k++) add_block(strip + k * BLOCK, panel + k * BLOCK);
  store_sums(sums);
}

/* The memory of a thread: what it says is taken from it, in blocks of so many bytes a number. */
INLINE void *take(float **room, int64_t blocks, int64_t size) {
  void *taken = *room;
  *room += blocks * BLOCK * size / (int64_t)sizeof(float);
  return taken;
}

/* What a thread needs for a head on the way forth. */
struct forth {
  half *keys, *values, *weights, *panel;
  float *scores, *made;
  struct met *met;
};

static struct forth forth_in(const struct head *head, float **room) {
  int64_t all = head->keys * head->deep, some = head->keys, deep = head->deep, lean = sizeof(half), wide = sizeof(float);
  return (struct forth){
      .keys = take(room, all, lean), .values = take(room, all, lean), .weights = take(room, some, lean), .panel = take(room, deep, lean),
      .scores = take(room, some, wide), .made = take(room, deep, wide), .met = take(room, over(some, BLOCK), sizeof(struct met)),
  };
}

static void mix_head(const struct head *head, float *room) {
  const struct heads *all = head->all;
  int64_t deep = head->deep, blocks = head->keys;
  struct forth forth = forth_in(head, &room);
  float normalizer[2][SIDE], *made = forth.made;
  const struct met *met = forth.met;
  for (int64_t block = 0; block < blocks; block++) lay_places(head, &all->key, block, all->keys, 0, forth.keys + block * deep * BLOCK);
  lay_numbers(head, &all->value, 0, blocks, all->keys, 0, forth.values);
  for (int64_t block = 0; block < head->queries; block++) {
    int64_t count = find_met(head, block, 1, forth.met), start = block * SIDE;
    lay_places(head, &all->query, block, all->queries, 1, forth.panel);
    for (int64_t n = 0; n < count; n++) multiply_blocks(deep, forth.keys + met[n].block * deep * BLOCK, forth.panel, forth.scores + n * BLOCK);
    weigh(head, block, count, met, forth.scores, forth.weights, normalizer);
    for (int64_t k = 0; k < deep; k++) {
      clear_sums();
      for (int64_t n = 0; n < count; n++) add_block(forth.values + (k * blocks + met[n].block) * BLOCK, forth.weights + n * BLOCK);
      store_sums(made + k * BLOCK);
      turn_sums(made + k * BLOCK);
    }
    int64_t there = least(SIDE, all->queries - start), queries = all->rows * all->heads * all->queries;
    for (int i = 0; i < 2; i++)
      memcpy(all->normalizer + i * queries + head->group * all->queries + start, normalizer[i], there * sizeof(float));
    for (int64_t i = 0; i < SIDE; i++) normalizer[1][i] /= 1.0f - all->chance;
    write_places(head, &all->mixed, block, all->queries, made, normalizer[1]);
    ask_for(head, &all->query, block, all->queries), ask_for(head, &all->key, block, all->keys), ask_for(head, &all->value, block, all->keys);
  }
}

/* What is known of each query on the way back: its normalizer, and what the gradients of its weights have in common. */
struct known {
  float *base, *share, *along;
};

/* Scores of 32 keys with a block of queries become their weights, and the gradients of the weights those of the scores; both as
   blocks of the left side. */
static void weigh_back(const struct head *head, int64_t strip, struct met met, const float *scores, const float *grads,
                       struct known known, half *weights, half *steps) {
  __m512 scale = _mm512_set1_ps(head->all->scale), base[2], share[2], along[2];
  __m512i drawn[2];
  int drops = head->all->chance > 0.0f;
  for (int side = 0; side < 2; side++) {
    int64_t query = met.block * SIDE + side * 16;
    base[side] = _mm512_loadu_ps(known.base + query), share[side] = _mm512_loadu_ps(known.share + query);
    along[side] = _mm512_loadu_ps(known.along + query), drawn[side] = drops ? draw(head, query) : _mm512_setzero_si512();
  }
  for (int64_t i = 0; i < SIDE; i++) {
    __mmask32 mask = met.whole ? 0xffffffffu : seeing(head, strip * SIDE + i, met.block * SIDE);
    __m512 kept[2], step[2];
    for (int side = 0; side < 2; side++) {
      __mmask16 seen = (__mmask16)(mask >> (16 * side));
      int64_t at = row_at(i) + side * (TILE / 2);
      __m512 weight = _mm512_mul_ps(weight_of(head, seen, scores + at, base[side]), share[side]), grad = _mm512_load_ps(grads + at);
      kept[side] = weight;
      if (drops) {
        __mmask16 stay = stays(head, drawn[side], strip * SIDE + i);
        grad = _mm512_maskz_mul_ps(stay, grad, head->growth), kept[side] = _mm512_maskz_mul_ps(stay, weight, head->growth);
      }
      step[side] = _mm512_maskz_mul_ps(seen, _mm512_mul_ps(weight, scale), _mm512_sub_ps(grad, along[side]));
    }
    _mm512_store_si512(weights + i * SIDE, narrow(kept[0], kept[1]));
    _mm512_store_si512(steps + i * SIDE, narrow(step[0], step[1]));
  }
}

/* Of each query the sum of grad * mixed. */
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

static struct known know(const struct head *head, float *room) {
  const struct heads *all = head->all;
  int64_t places = over(head->queries, SIDE), queries = all->rows * all->heads * all->queries, size = all->queries * sizeof(float);
  memset(room, 0, 3 * places * BLOCK * sizeof(float));
  struct known known = {room, room + places * BLOCK, room + 2 * places * BLOCK};
  memcpy(known.base, all->normalizer + head->group * all->queries, size);
  memcpy(known.share, all->normalizer + queries + head->group * all->queries, size);
  sum_along(head, known.along);
  return known;
}

/* The same on the way back. */
struct back {
  half *query_panels, *grad_panels, *query_numbers, *grad_numbers, *keys, *values, *turned, *weights, *steps, *pairs;
  float *scores, *grads, *made, *to_query, *known;
  struct met *met;
};

static struct back back_in(const struct head *head, float **room) {
  int64_t all = head->queries * head->deep, some = head->queries, deep = head->deep, lean = sizeof(half), wide = sizeof(float);
  return (struct back){
      .query_panels = take(room, all, lean), .grad_panels = take(room, all, lean), .query_numbers = take(room, all, lean),
      .grad_numbers = take(room, all, lean), .keys = take(room, deep, lean), .values = take(room, deep, lean),
      .turned = take(room, deep, lean), .weights = take(room, some, lean), .steps = take(room, some, lean), .pairs = take(room, 2, lean),
      .scores = take(room, some, wide), .grads = take(room, some, wide), .made = take(room, deep, wide), .to_query = take(room, all, wide),
      .known = take(room, 3 * over(some, SIDE), wide), .met = take(room, over(some, BLOCK), sizeof(struct met)),
  };
}

/* The gradients of 32 keys and of their values; and what they add to those of the queries, turned. */
static void mix_keys_back(const struct head *head, int64_t strip, struct known known, const struct back *back) {
  const struct heads *all = head->all;
  int64_t deep = head->deep, count = find_met(head, strip, 0, back->met);
  const struct met *met = back->met;
  lay_places(head, &all->key, strip, all->keys, 0, back->keys);
  lay_places(head, &all->value, strip, all->keys, 0, back->values);
  lay_numbers(head, &all->key, strip, strip + 1, all->keys, 0, back->turned);
  for (int64_t n = 0; n < count; n++) {
    multiply_blocks(deep, back->keys, back->query_panels + met[n].block * deep * BLOCK, back->scores + n * BLOCK);
    multiply_blocks(deep, back->values, back->grad_panels + met[n].block * deep * BLOCK, back->grads + n * BLOCK);
  }
  for (int64_t n = 0; n < count; n++) {
    half *steps = back->steps + n * BLOCK;
    weigh_back(head, strip, met[n], back->scores + n * BLOCK, back->grads + n * BLOCK, known, back->weights + n * BLOCK, steps);
    lay_right(steps, SIDE, SIDE, SIDE, back->pairs);
    for (int64_t k = 0; k < deep; k++) {
      float *sums = back->to_query + (met[n].block * deep + k) * BLOCK;
      load_sums(sums);
      add_block(back->turned + k * BLOCK, back->pairs);
      store_sums(sums);
    }
  }
  for (int of_values = 0; of_values < 2; of_values++) {
    const half *left = of_values ? back->weights : back->steps, *right = of_values ? back->grad_numbers : back->query_numbers;
    for (int64_t k = 0; k < deep; k++) {
      clear_sums();
      for (int64_t n = 0; n < count; n++) add_block(left + n * BLOCK, right + (k * head->queries + met[n].block) * BLOCK);
      store_sums(back->made + k * BLOCK);
    }
    write_places(head, of_values ? &all->to_value : &all->to_key, strip, all->keys, back->made, NULL);
  }
}

static void mix_head_back(const struct head *head, float *room) {
  const struct heads *all = head->all;
  int64_t deep = head->deep, queries = all->queries;
  struct back back = back_in(head, &room);
  struct known known = know(head, back.known);
  memset(back.to_query, 0, head->queries * deep * BLOCK * sizeof(float));
  for (int64_t block = 0; block < head->queries; block++) {
    lay_places(head, &all->query, block, queries, 1, back.query_panels + block * deep * BLOCK);
    lay_places(head, &all->grad, block, queries, 1, back.grad_panels + block * deep * BLOCK);
  }
  lay_numbers(head, &all->query, 0, head->queries, queries, 1, back.query_numbers);
  lay_numbers(head, &all->grad, 0, head->queries, queries, 1, back.grad_numbers);
  for (int64_t strip = 0; strip < head->keys; strip++) {
    mix_keys_back(head, strip, known, &back);
    ask_for(head, &all->key, strip, all->keys), ask_for(head, &all->value, strip, all->keys);
    ask_for(head, &all->query, strip, queries), ask_for(head, &all->grad, strip, queries), ask_for(head, &all->mixed, strip, queries);
  }
  for (int64_t block = 0; block < head->queries; block++) {
    for (int64_t k = 0; k < deep; k++) turn_sums(back.to_query + (block * deep + k) * BLOCK);
    write_places(head, &all->to_query, block, queries, back.to_query + block * deep * BLOCK, NULL);
  }
}

/* The memory of a thread, in float32 numbers. */
static int64_t room_of(const struct heads *all, int back) {
  struct head head = head_of(all, 0);
  float *start = NULL, *end = start;
  if (back)
    back_in(&head, &end);
  else
    forth_in(&head, &end);
  return end - start;
}

int64_t heads_room(const struct heads *all, int64_t back) { return omp_get_max_threads() * room_of(all, back); }

void mix_heads(const struct heads *all, int64_t back, float *room) {
#pragma omp parallel
  {
    begin_tiles();
#pragma omp for schedule(static)
    for (int64_t group = 0; group < all->rows * all->heads; group++) {
      struct head head = head_of(all, group);
      (back ? mix_head_back : mix_head)(&head, room + omp_get_thread_num() * room_of(all, back));
    }
    _tile_release();
  }
}
