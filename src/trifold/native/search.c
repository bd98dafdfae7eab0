/* A step of a beam search beside its products: attention over what rows share, and the best words of each row. */

/* One query of each row over keys and values, all float32, that lie in other rows' places: key t of row r in that of
   origin[r][t], or of origin[r] where origin_key is 0. Steps are in numbers; seen and bias as above, and may be missing. */
struct shared {
  int64_t rows, heads, share, size, keys; /* so many heads share one of the keys */
  const float *key, *value;
  int64_t row_step, key_step, head_step;
  const int32_t *origin;
  int64_t origin_row, origin_key;
  const uint8_t *seen;
  int64_t seen_row;
  const float *bias;
  int64_t bias_row, bias_head;
  float scale;
};

/* Where the key of a row and head begins, and its value. */
static inline int64_t place_of(const struct shared *of, int64_t row, int64_t head, int64_t t) {
  int64_t origin = of->origin[row * of->origin_row + t * of->origin_key];
  return origin * of->row_step + t * of->key_step + head / of->share * of->head_step;
}

void attend_shared(const struct shared *of, const float *queries, float *mixed) {
#pragma omp parallel
  {
    float *score = room_for(of->keys);
#pragma omp for schedule(static)
    for (int64_t at = 0; at < of->rows * of->heads; at++) {
      int64_t row = at / of->heads, head = at % of->heads, size = of->size, filled = fill(of->keys);
      const float *query = queries + at * size, *bias = of->bias + row * of->bias_row + head * of->bias_head;
      float *to = mixed + at * size;
      for (int64_t t = 0; t < of->keys; t++) {
        const float *key = of->key + place_of(of, row, head, t);
        float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
        for (int64_t i = 0; i < size; i++) dot += query[i] * key[i];
        dot = dot * of->scale + (of->bias ? bias[t] : 0.0f);
        score[t] = of->seen && !of->seen[row * of->seen_row + t] ? -INFINITY : dot;
      }
      for (int64_t t = of->keys; t < filled; t++) score[t] = -INFINITY;
      float part = exponentials(filled, score);
      memset(to, 0, size * sizeof *to);
      for (int64_t t = 0; t < of->keys; t++) {
        const float *value = of->value + place_of(of, row, head, t);
        float weight = score[t] * part;
#pragma omp simd
        for (int64_t i = 0; i < size; i++) to[i] += weight * value[i];
      }
    }
    free(score);
  }
}

#define CHUNK 64

/* The largest number of each whole or last chunk; of those, the `count`-th largest. */
static float chunk_limit(int64_t words, int64_t count, const float *x, float *most, float *top) {
  for (int64_t t = 0; t < count; t++) top[t] = -INFINITY;
  for (int64_t start = 0; start < words; start += CHUNK) {
    int64_t stop = start + CHUNK < words ? start + CHUNK : words;
    float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
    for (int64_t i = start; i < stop; i++) largest = x[i] > largest ? x[i] : largest;
    most[start / CHUNK] = largest;
    if (!(largest > top[count - 1])) continue;
    int64_t t = count - 1;
    for (; t > 0 && top[t - 1] < largest; t--) top[t] = top[t - 1];
    top[t] = largest;
  }
  return top[count - 1];
}

/* Of each row log(sum(e^x)), and its `count` largest numbers, largest first and of equals the first one first; rows are `step`
   numbers apart. A row with something that is no number has no sum. */
void find_best(int64_t rows, int64_t words, int64_t step, int64_t count, const float *x, float *total, float *value, int64_t *place) {
#pragma omp parallel
  {
    float *most = room_for(words / CHUNK + 1 + count), *top = most + words / CHUNK + 1;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
      const float *from = x + row * step;
      float *found = value + row * count, sum = 0.0f;
      int64_t *where = place + row * count;
      const float limit = chunk_limit(words, count, from, most, top), largest = top[0];
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < words; i++) sum += power(from[i] - largest);
      total[row] = largest + logf(sum);
      for (int64_t t = 0; t < count; t++) found[t] = -INFINITY, where[t] = 0;
      for (int64_t start = 0; start < words; start += CHUNK)
        for (int64_t i = start; most[start / CHUNK] >= limit && i < words && i < start + CHUNK; i++) {
          if (!(from[i] > found[count - 1])) continue;
          int64_t t = count - 1;
          for (; t > 0 && found[t - 1] < from[i]; t--) found[t] = found[t - 1], where[t] = where[t - 1];
          found[t] = from[i], where[t] = i;
        }
    }
    free(most);
  }
}
