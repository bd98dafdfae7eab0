/* One block of a decoder for one new token: every weight is read once, and nothing between two products leaves the cache.

   x -> x + attention(norm(x)) -> x + feed-forward(norm(x)), each branch as `Residual` in model/block.py has it. Numbers between
   the products are float32; x, y, norms and biases are all float32 or all bfloat16; weights may be int8 (see kernel.c).
   Layouts of the structures are those of block.py. */

#include "kernel.c"

enum { FLOAT, HALF, BYTE };
enum { IDENTITY, RELU, GELU, GELU_TANH, SILU };
enum { NO_NORM, LAYER_NORM, RMS_NORM, OFFSET_RMS_NORM };
enum { PIECE = 64 }; /* outputs of a feed-forward's first product that become something else together */

typedef struct { int64_t format, inputs, outputs; const void *weight; const float *scale; const void *bias; } Product;
typedef struct { int64_t kind; double eps; const void *weight, *bias; } Norm;
typedef struct { Norm before, branch, after; } Norms;

typedef struct {
  int64_t half, width, heads, kv_heads, head_size, activation;
  double scale; /* of the scores */
  Norms attention, feed_forward;
  Norm q_norm, k_norm; /* of each head */
  Product q, k, v, o, up, gate, down; /* gate.weight may be missing */
} Block;

/* What a product reads: floats, and with int8 weights the whole numbers that they become and what one of these stands for. */
typedef struct { float *x; int16_t *whole; float unit; } Input;

static inline float value(int64_t half, const void *from, int64_t i) {
  return half ? widen(((const uint16_t *)from)[i]) : ((const float *)from)[i];
}

static void normalize(const Norm *norm, int64_t half, int64_t width, const float *x, float *y) {
  double sum = 0, squares = 0;
  if (norm->kind == LAYER_NORM) for (int64_t i = 0; i < width; i++) sum += x[i];
  const float mean = (float)(sum / width);
  if (norm->kind != NO_NORM) for (int64_t i = 0; i < width; i++) squares += (double)(x[i] - mean) * (x[i] - mean);
  const float scale = norm->kind == NO_NORM ? 1 : (float)(1 / sqrt(squares / width + norm->eps));
  for (int64_t i = 0; i < width; i++) {
    const float made = (x[i] - mean) * scale;
    const float weight = norm->weight ? value(half, norm->weight, i) : 1;
    y[i] = made * (norm->kind == OFFSET_RMS_NORM ? 1 + weight : weight) + (norm->bias ? value(half, norm->bias, i) : 0);
  }
}

static void normalize_heads(const Norm *norm, int64_t half, int64_t heads, int64_t size, float *x) {
  if (norm->kind != NO_NORM)
    for (float *head = x; head < x + heads * size; head += size) normalize(norm, half, size, head, head);
}

static void prepare(const Product *product, Input *input) {
  if (product->format == BYTE) input->unit = round_row(product->inputs, input->x, input->whole);
}

static inline float multiply(const Product *product, int64_t half, int64_t o, const Input *input) {
  const int64_t inputs = product->inputs, at = o * inputs;
  const float bias = product->bias ? value(half, product->bias, o) : 0;
  if (product->format == BYTE)
    return dot_byte(inputs, (const int8_t *)product->weight + at, input->whole) * product->scale[o] * input->unit + bias;
  if (product->format == HALF) return dot_half(inputs, (const uint16_t *)product->weight + at, input->x) + bias;
  return dot_float(inputs, (const float *)product->weight + at, input->x) + bias;
}

/* `activation(gate) * x`, in place of x; without a gate, `activation(x)`. */
static void activate(int64_t activation, int64_t count, const float *gate, float *x) {
  float made[PIECE];
  const float *from = gate ? gate : x;
  switch (activation) {
    case RELU:
      for (int64_t i = 0; i < count; i++) made[i] = from[i] > 0 || isnan(from[i]) ? from[i] : 0;
      break;
    case GELU:
      for (int64_t i = 0; i < count; i++) made[i] = 0.5f * from[i] * (1 + erff(from[i] * 0.70710678f));
      break;
    case GELU_TANH: /* tanh by the exponential */
#pragma omp simd
      for (int64_t i = 0; i < count; i++)
        made[i] = from[i] / (1 + power(-1.59576912f * (from[i] + 0.044715f * from[i] * from[i] * from[i])));
      break;
    case SILU:
#pragma omp simd
      for (int64_t i = 0; i < count; i++) made[i] = from[i] / (1 + power(-from[i]));
      break;
    default: memcpy(made, from, count * sizeof *made);
  }
  for (int64_t i = 0; i < count; i++) x[i] = gate ? made[i] * x[i] : made[i];
}

/* `x cos + swap(x) sin`, where swap sends the halves (a, b) to (-b, a). */
static void rotate(int64_t heads, int64_t size, const float *cosine, const float *sine, float *x) {
  for (float *head = x; cosine && head < x + heads * size; head += size)
    for (int64_t i = 0, j = size / 2; j < size; i++, j++) {
      const float a = head[i], b = head[j];
      head[i] = a * cosine[i] - b * sine[i];
      head[j] = b * cosine[j] + a * sine[j];
    }
}

static void attend(int64_t size, int64_t length, float scale, const float *q, const float *keys, const float *values, float *scores, float *y) {
  float largest = -INFINITY, sum = 0;
  for (int64_t t = 0; t < length; t++) {
    scores[t] = dot_float(size, keys + t * size, q) * scale;
    largest = scores[t] > largest || isnan(scores[t]) ? scores[t] : largest;
  }
#pragma omp simd reduction(+ : sum)
  for (int64_t t = 0; t < length; t++) sum += scores[t] = power(scores[t] - largest);
  for (int64_t t = 0; t < length; t++) scores[t] /= sum;
  int64_t i = 0;
  for (; i + 4 * LANES <= size; i += 4 * LANES) {
    Floats sums[4] = {0};
    for (int64_t t = 0; t < length; t++)
      for (int part = 0; part < 4; part++) sums[part] += scores[t] * floats(values + t * size + i + LANES * part);
    memcpy(y + i, sums, sizeof sums);
  }
  for (; i < size; i++) {
    y[i] = 0;
    for (int64_t t = 0; t < length; t++) y[i] += scores[t] * values[t * size + i];
  }
}

/* The branch's end: `after(x + branch(out))`, in place of x. */
static void add(const Norms *norms, int64_t half, int64_t width, float *out, float *x) {
  normalize(&norms->branch, half, width, out, out);
  for (int64_t i = 0; i < width; i++) x[i] += out[i];
  normalize(&norms->after, half, width, x, x);
}

static inline int64_t widest(const Block *b) {
  const int64_t inputs = b->q.inputs > b->o.inputs ? b->q.inputs : b->o.inputs;
  return inputs > b->down.inputs ? inputs : b->down.inputs;
}

int64_t work_size(const Block *b, int64_t place) {
  const int64_t heads = (b->heads + 2 * b->kv_heads) * b->head_size;
  return 2 * b->width + heads + b->up.outputs + b->heads * (place + 1) + 2 * widest(b);
}

/* keys, values: kv_heads rooms of `room` tokens, `place` of them full; the new ones are written behind.
   work: floats, `work_size` of them. */
void decode_block(const Block *b, const void *x, void *y, float *keys, float *values, int64_t room, int64_t place, const float *cosine,
                  const float *sine, float *work) {
  const int64_t half = b->half, width = b->width, size = b->head_size, queries = b->heads * size, kept = b->kv_heads * size;
  const int64_t d_ff = b->up.outputs;
  float *stream = work, *out = stream + width, *q = out + width, *k = q + queries, *v = k + kept, *inner = v + kept, *scores = inner + d_ff;
  Input input = {.x = scores + b->heads * (place + 1)};
  input.whole = (int16_t *)(input.x + widest(b));
#pragma omp parallel
  {
#pragma omp single
    {
      for (int64_t i = 0; i < width; i++) stream[i] = value(half, x, i);
      normalize(&b->attention.before, half, width, stream, input.x);
      prepare(&b->q, &input);
    }
#pragma omp for schedule(static)
    for (int64_t o = 0; o < queries + 2 * kept; o++) {
      const Product *product = o < queries ? &b->q : o < queries + kept ? &b->k : &b->v;
      q[o] = multiply(product, half, o < queries ? o : (o - queries) % kept, &input); /* k and v lie behind q */
    }
#pragma omp single
    {
      normalize_heads(&b->q_norm, half, b->heads, size, q);
      normalize_heads(&b->k_norm, half, b->kv_heads, size, k);
      rotate(b->heads, size, cosine, sine, q);
      rotate(b->kv_heads, size, cosine, sine, k);
      for (int64_t h = 0; h < b->kv_heads; h++) {
        memcpy(keys + (h * room + place) * size, k + h * size, size * sizeof *k);
        memcpy(values + (h * room + place) * size, v + h * size, size * sizeof *v);
      }
    }
#pragma omp for schedule(static)
    for (int64_t h = 0; h < b->heads; h++) {
      const int64_t from = h / (b->heads / b->kv_heads) * room * size;
      attend(size, place + 1, b->scale, q + h * size, keys + from, values + from, scores + h * (place + 1), input.x + h * size);
    }
#pragma omp single
    prepare(&b->o, &input);
#pragma omp for schedule(static)
    for (int64_t o = 0; o < width; o++) out[o] = multiply(&b->o, half, o, &input);
#pragma omp single
    {
      add(&b->attention, half, width, out, stream);
      normalize(&b->feed_forward.before, half, width, stream, input.x);
      prepare(&b->up, &input);
    }
#pragma omp for schedule(static)
    for (int64_t start = 0; start < d_ff; start += PIECE) {
      const int64_t count = start + PIECE < d_ff ? PIECE : d_ff - start;
      float gate[PIECE];
      for (int64_t o = 0; o < count; o++) {
        inner[start + o] = multiply(&b->up, half, start + o, &input);
        if (b->gate.weight) gate[o] = multiply(&b->gate, half, start + o, &input);
      }
      activate(b->activation, count, b->gate.weight ? gate : NULL, inner + start);
    }
#pragma omp single
    {
      input.x = inner;
      prepare(&b->down, &input);
    }
#pragma omp for schedule(static)
    for (int64_t o = 0; o < width; o++) out[o] = multiply(&b->down, half, o, &input);
#pragma omp single
    {
      add(&b->feed_forward, half, width, out, stream);
      for (int64_t i = 0; i < width; i++)
        if (half) ((uint16_t *)y)[i] = narrow(stream[i]);
        else ((float *)y)[i] = stream[i];
    }
  }
}
