/* What a training step does to bfloat16 numbers between its products, each in one pass over memory.

   Everything is computed in float32 and rounded once, to the nearest, ties to even. Each row is the work of one thread, so
   results do not depend on how many there are. */

#if defined(__GNUC__) && !defined(__clang__) && defined(__AVX512F__)
#pragma GCC target("prefer-vector-width=512")
#endif
#include <stdlib.h>

#include "half.h"

typedef uint16_t half;
#define PIECE 4096
#define LANES 32 /* numbers of half a float in the widest vector */

/* 1 / (1 + e^-x) to 5e-5 of itself, for what is rounded to bfloat16 next; the inverse by Newton's steps from a guess that its bits
   give. */
static inline float sigmoid(float x) {
  float near = x < -80.0f ? -80.0f : x > 80.0f ? 80.0f : x;
  float whole = (near * -1.44269504f + NEAREST) - NEAREST;
  float rest = near * -1.44269504f - whole; /* of the power of 2 */
  float series = 1.0f + rest * (0.69314718f + rest * (0.24022651f + rest * (0.05550411f + rest * 0.0096181291f)));
  int32_t bits = ((int32_t)whole + 127) << 23;
  float scale, share;
  memcpy(&scale, &bits, 4);
  float below = 1.0f + series * scale;
  memcpy(&bits, &below, 4);
  bits = 0x7ef127ea - bits;
  memcpy(&share, &bits, 4);
  share *= 2.0f - below * share;
  share *= 2.0f - below * share;
  return x < -80.0f ? 0.0f : share;
}

/* The share of x that an activation lets pass: sigmoid(x) of SiLU, or of GELU with tanh (Hendrycks & Gimpel 2016) sigmoid(2u),
   u = sqrt(2 / pi) (x + 0.044715 x^3); `rise` is the derivative of the sigmoid's argument. */
static inline float share_of(int64_t tanh, float x, float *rise) {
  float square = x * x;
  *rise = tanh ? 1.5957691216f * (1.0f + 0.134145f * square) : 1.0f;
  return sigmoid(tanh ? 1.5957691216f * (x + 0.044715f * square * x) : x);
}

/* The derivative of x times that share. */
static inline float slope_of(float x, float share, float rise) { return share + x * share * (1.0f - share) * rise; }

/* GELU with tanh. */
static inline void gelu_piece(int64_t start, int64_t stop, const half *x, const half *dy, half *y, half *again) {
#pragma omp simd
  for (int64_t i = start; i < stop; i++) {
    float value = widen(x[i]), rise, share = share_of(1, value, &rise);
    y[i] = narrow(dy ? widen(dy[i]) * slope_of(value, share, rise) : value * share);
    if (again) again[i] = narrow(value * share);
  }
}

/* Of so many numbers; with dy, the gradient of x in place of the result, which may go to `again`. y may be dy. */
void gelu(int64_t count, const half *x, const half *dy, half *y, half *again) {
#pragma omp parallel for schedule(static)
  for (int64_t start = 0; start < count; start += PIECE) {
    int64_t stop = start + PIECE < count ? start + PIECE : count;
    if (!dy)
      gelu_piece(start, stop, x, NULL, y, NULL);
    else if (!again)
      gelu_piece(start, stop, x, dy, y, NULL);
    else
      gelu_piece(start, stop, x, dy, y, again);
  }
}

/* y = activation(x) * up of so many numbers. */
void gate(int64_t count, int64_t tanh, const half *x, const half *up, half *y) {
#pragma omp parallel for schedule(static)
  for (int64_t start = 0; start < count; start += PIECE) {
    int64_t stop = start + PIECE < count ? start + PIECE : count;
#pragma omp simd
    for (int64_t i = start; i < stop; i++) {
      float value = widen(x[i]), rise;
      y[i] = narrow(value * share_of(tanh, value, &rise) * widen(up[i]));
    }
  }
}

/* The way back. */
void gate_gradient(int64_t count, int64_t tanh, const half *x, const half *up, const half *dy, half *dx, half *dup) {
#pragma omp parallel for schedule(static)
  for (int64_t start = 0; start < count; start += PIECE) {
    int64_t stop = start + PIECE < count ? start + PIECE : count;
#pragma omp simd
    for (int64_t i = start; i < stop; i++) {
      float value = widen(x[i]), step = widen(dy[i]), rise, share = share_of(tanh, value, &rise);
      dx[i] = narrow(step * widen(up[i]) * slope_of(value, share, rise));
      dup[i] = narrow(step * value * share);
    }
  }
}

/* Rotary positions (Su et al. 2021, equation 34): y = x cos + swap(x) turn sin, where swap sends the halves (a, b) to (-b, a); turn
   is 1, or -1 for the way back. x [rows][seq][heads][size] and y likewise, each with its steps in numbers; cos and sin
   [row or one][seq][size], the two halves of them alike. */
struct rotation {
  int64_t rows, seq, heads, size, x_row, x_seq, x_head, y_row, y_seq, y_head, angle_row;
  float turn;
};

void rotate(const struct rotation *all, const half *x, const float *cos, const float *sin, half *y) {
  int64_t middle = all->size / 2;
#pragma omp parallel for schedule(static)
  for (int64_t at = 0; at < all->rows * all->seq; at++) {
    int64_t row = at / all->seq, place = at % all->seq, angle = row * all->angle_row + place * all->size;
    for (int64_t head = 0; head < all->heads; head++) {
      const half *from = x + row * all->x_row + place * all->x_seq + head * all->x_head;
      half *to = y + row * all->y_row + place * all->y_seq + head * all->y_head;
#pragma omp simd
      for (int64_t i = 0; i < middle; i++) {
        float a = widen(from[i]), b = widen(from[middle + i]), c = cos[angle + i], s = all->turn * sin[angle + i];
        to[i] = narrow(a * c - b * s);
        to[middle + i] = narrow(b * c + a * s);
      }
    }
  }
}

/* Scores of attention become weights, in place: softmax(scale * scores + bias) over the keys that are seen.

   scores [groups][queries][keys]; group g is head g % heads of row g / heads. seen and bias are [row or one][.][query][.],
   with their own steps in numbers; either may be missing. With causal, query i of the block sees the first `causal + i`
   keys only; 0: all. A query that sees nothing gets zeros. */
struct view {
  int64_t groups, heads, queries, keys, causal;
  const uint8_t *seen;
  int64_t seen_row, seen_query;
  const half *bias;
  int64_t bias_row, bias_head, bias_query;
  int64_t seed, first_group, first_query, first_key;
  float scale, chance;
};

/* Bits that look random, from any (the finalizer of MurmurHash3, Appleby 2011). */
static inline uint32_t mix(uint32_t bits) {
  bits = (bits ^ (bits >> 16)) * 0x85ebca6bu;
  bits = (bits ^ (bits >> 13)) * 0xc2b2ae35u;
  return bits ^ (bits >> 16);
}

/* Dropout: weights that stay grow, others become 0. Which they are follows from their places, so that the way back finds the
   same. */
struct lot {
  uint32_t row, limit;
  float growth;
};

static inline struct lot lot_of(uint32_t row, float chance) {
  return (struct lot){row, (uint32_t)(chance * 4294967296.0), 1.0f / (1.0f - chance)};
}

static inline struct lot draw(const struct view *view, int64_t group, int64_t query) {
  uint32_t row = mix(mix(mix((uint32_t)view->seed) + (uint32_t)(view->first_group + group)) + (uint32_t)(view->first_query + query));
  return lot_of(row + (uint32_t)view->first_key, view->chance);
}

static inline float kept(struct lot lot, int64_t key) { return mix(lot.row + (uint32_t)key) < lot.limit ? 0.0f : lot.growth; }

/* y = more + what dropout leaves of x; more may be missing, chance is less than 1. */
void dropout(int64_t count, int64_t seed, float chance, const half *x, const half *more, half *y) {
#pragma omp parallel for schedule(static)
  for (int64_t start = 0; start < count; start += PIECE) {
    int64_t stop = start + PIECE < count ? start + PIECE : count;
    struct lot lot = lot_of(mix(mix((uint32_t)seed) + (uint32_t)(start / PIECE)), chance);
    if (more) {
#pragma omp simd
      for (int64_t i = start; i < stop; i++) y[i] = narrow(widen(more[i]) + widen(x[i]) * kept(lot, i - start));
    } else {
#pragma omp simd
      for (int64_t i = start; i < stop; i++) y[i] = narrow(widen(x[i]) * kept(lot, i - start));
    }
  }
}

/* How many keys a query may see, and that many filled up to whole vectors: no loop then has a rest. */
static inline int64_t reach(const struct view *view, int64_t query) {
  int64_t limit = view->causal ? view->causal + query : view->keys;
  return limit < view->keys ? limit : view->keys;
}

static inline int64_t fill(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

/* Room for one row of so many numbers, whole vectors of it. */
static void *room_for(int64_t count) { return aligned_alloc(64, fill(count) * sizeof(float)); }

/* Scores of whole vectors become e^(score - largest), in place; gives 1 / their sum, or 0 where all are -INFINITY. */
static inline float exponentials(int64_t filled, float *score) {
  float largest = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : largest)
  for (int64_t k = 0; k < filled; k++) largest = score[k] > largest ? score[k] : largest;
  float base = largest == -INFINITY ? 0.0f : largest;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < filled; k++) {
    score[k] = power(score[k] - base);
    sum += score[k];
  }
  return sum == 0.0f ? 0.0f : 1.0f / sum;
}

void attention_weights(const struct view *view, half *scores, int64_t drop) {
#pragma omp parallel
  {
    float *room = room_for(view->keys);
    half *lean = room_for(view->keys);
#pragma omp for schedule(static)
    for (int64_t at = 0; at < view->groups * view->queries; at++) {
      int64_t group = at / view->queries, query = at % view->queries, row = group / view->heads;
      int64_t limit = reach(view, query), filled = fill(limit);
      half *score = scores + at * view->keys;
      float scale = view->scale;
      memcpy(lean, score, limit * sizeof *lean);
#pragma omp simd
      for (int64_t k = 0; k < filled; k++) room[k] = scale * widen(lean[k]);
      if (view->bias) {
        const half *bias = view->bias + row * view->bias_row + group % view->heads * view->bias_head + query * view->bias_query;
#pragma omp simd
        for (int64_t k = 0; k < limit; k++) room[k] += widen(bias[k]);
      }
      if (view->seen) {
        const uint8_t *seen = view->seen + row * view->seen_row + query * view->seen_query;
#pragma omp simd
        for (int64_t k = 0; k < limit; k++) room[k] = seen[k] ? room[k] : -INFINITY;
      }
      for (int64_t k = limit; k < filled; k++) room[k] = -INFINITY;
      float share = exponentials(filled, room);
      if (drop) {
        struct lot lot = draw(view, group, query);
#pragma omp simd
        for (int64_t k = 0; k < filled; k++) room[k] *= kept(lot, k);
      }
#pragma omp simd
      for (int64_t k = 0; k < filled; k++) lean[k] = narrow(room[k] * share);
      memcpy(score, lean, limit * sizeof *lean);
      memset(score + limit, 0, (view->keys - limit) * sizeof *score);
    }
    free(room);
    free(lean);
  }
}

/* The gradient of the weights becomes that of the scores, in place: scale * weight * (gradient - sum(weight * gradient)).
   With a chance, the weights come as they were before dropout and leave as they are after it. */
void attention_gradient(const struct view *view, half *weights, half *gradient) {
#pragma omp parallel for schedule(static)
  for (int64_t at = 0; at < view->groups * view->queries; at++) {
    int64_t query = at % view->queries, limit = fill(reach(view, query)); /* the weight of a key not seen is 0 */
    limit = limit < view->keys ? limit : view->keys;
    half *weight = weights + at * view->keys, *step = gradient + at * view->keys;
    struct lot lot = draw(view, at / view->queries, query);
    float sum = 0.0f, scale = view->scale;
    if (view->chance > 0.0f) {
#pragma omp simd
      for (int64_t k = 0; k < limit; k++) step[k] = narrow(widen(step[k]) * kept(lot, k));
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < limit; k++) sum += widen(weight[k]) * widen(step[k]);
#pragma omp simd
    for (int64_t k = 0; k < limit; k++) step[k] = narrow(scale * widen(weight[k]) * (widen(step[k]) - sum));
    memset(step + limit, 0, (view->keys - limit) * sizeof *step);
    if (view->chance > 0.0f) {
#pragma omp simd
      for (int64_t k = 0; k < limit; k++) weight[k] = narrow(widen(weight[k]) * kept(lot, k));
    }
  }
}

/* Cross-entropy of each row of logits with its label, `smoothing` of it spread over all words; with `differentiate` the
   logits become their gradient: softmax - wanted. */
void cross_entropy(int64_t rows, int64_t words, half *logits, const int64_t *labels, float smoothing, int64_t differentiate,
                   float *losses) {
#pragma omp parallel
  {
    float *room = room_for(words);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
      half *logit = logits + row * words;
      float largest = -INFINITY, sum = 0.0f, all = 0.0f, wanted = widen(logit[labels[row]]);
#pragma omp simd reduction(max : largest) reduction(+ : all)
      for (int64_t k = 0; k < words; k++) {
        room[k] = widen(logit[k]);
        all += room[k];
        largest = room[k] > largest ? room[k] : largest;
      }
#pragma omp simd reduction(+ : sum)
      for (int64_t k = 0; k < words; k++) {
        room[k] = power(room[k] - largest);
        sum += room[k];
      }
      losses[row] = largest + logf(sum) - (1.0f - smoothing) * wanted - smoothing * (all / words);
      if (!differentiate) continue;
      float share = 1.0f / sum, spread = smoothing / words;
      room[labels[row]] -= (1.0f - smoothing) * sum;
#pragma omp simd
      for (int64_t k = 0; k < words; k++) logit[k] = narrow(room[k] * share - spread);
    }
    free(room);
  }
}

/* sums [pieces][columns]: of each column in each piece of the rows. */
void column_sums(int64_t rows, int64_t columns, int64_t pieces, const half *x, float *sums) {
#pragma omp parallel for schedule(static)
  for (int64_t piece = 0; piece < pieces; piece++) {
    float *sum = sums + piece * columns;
    memset(sum, 0, columns * sizeof *sum);
    for (int64_t row = rows * piece / pieces; row < rows * (piece + 1) / pieces; row++) {
      const half *from = x + row * columns;
#pragma omp simd
      for (int64_t i = 0; i < columns; i++) sum[i] += widen(from[i]);
    }
  }
}

/* y = (x - mean) * rate * weight + bias of each row, rate = 1 / sqrt(variance + eps); without `centered` the mean is taken as 0
   (Ba et al. 2016; Zhang & Sennrich 2019). moments[row] = mean, rate. bias may be missing. */
void norm(int64_t rows, int64_t width, int64_t centered, float eps, const half *x, const half *weight, const half *bias, half *y,
          float *moments) {
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    const half *from = x + row * width;
    half *to = y + row * width;
    float mean = 0.0f, square = 0.0f;
    if (centered) {
#pragma omp simd reduction(+ : mean)
      for (int64_t i = 0; i < width; i++) mean += widen(from[i]);
      mean /= width;
    }
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < width; i++) square += (widen(from[i]) - mean) * (widen(from[i]) - mean);
    float rate = 1.0f / sqrtf(square / width + eps);
    if (bias) {
#pragma omp simd
      for (int64_t i = 0; i < width; i++) to[i] = narrow((widen(from[i]) - mean) * rate * widen(weight[i]) + widen(bias[i]));
    } else {
#pragma omp simd
      for (int64_t i = 0; i < width; i++) to[i] = narrow((widen(from[i]) - mean) * rate * widen(weight[i]));
    }
    moments[2 * row] = mean;
    moments[2 * row + 1] = rate;
  }
}

/* The way back: dx, and in `sums` [pieces][2][width] what each piece of rows adds to the gradients of weight and bias. */
void norm_gradient(int64_t rows, int64_t width, int64_t centered, int64_t pieces, const half *x, const half *weight,
                   const float *moments, const half *dy, half *dx, float *sums) {
#pragma omp parallel for schedule(static)
  for (int64_t piece = 0; piece < pieces; piece++) {
    float *to_weight = sums + 2 * piece * width, *to_bias = to_weight + width;
    memset(to_weight, 0, 2 * width * sizeof *sums);
    for (int64_t row = rows * piece / pieces; row < rows * (piece + 1) / pieces; row++) {
      const half *from = x + row * width, *step = dy + row * width;
      half *to = dx + row * width;
      float mean = moments[2 * row], rate = moments[2 * row + 1], all = 0.0f, along = 0.0f;
#pragma omp simd reduction(+ : all, along)
      for (int64_t i = 0; i < width; i++) {
        float place = (widen(from[i]) - mean) * rate, slope = widen(step[i]);
        to_weight[i] += slope * place;
        to_bias[i] += slope;
        slope *= widen(weight[i]);
        all += slope;
        along += slope * place;
      }
      all = centered ? all / width : 0.0f;
      along /= width;
#pragma omp simd
      for (int64_t i = 0; i < width; i++) {
        float place = (widen(from[i]) - mean) * rate;
        to[i] = narrow(rate * (widen(step[i]) * widen(weight[i]) - all - along * place));
      }
    }
  }
}

#include "optimizer.c"
#include "search.c"
