/* What becomes of gradients: their norm, and AdamW in one pass. */

/* Sums of the squares of pieces of PIECE numbers, so that they do not depend on the number of threads. */
void squares(int64_t count, const half *x, float *sums) {
#pragma omp parallel for schedule(static) if (count > 8 * PIECE)
  for (int64_t start = 0; start < count; start += PIECE) {
    int64_t stop = start + PIECE < count ? start + PIECE : count;
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = start; i < stop; i++) sum += widen(x[i]) * widen(x[i]);
    sums[start / PIECE] = sum;
  }
}

/* One step of AdamW (Loshchilov & Hutter 2019, algorithm 2) of several weights, whose rounded copies follow at once. The
   gradient is `grad`, or where there is none `sum`. */
struct moved {
  int64_t count;
  float *weight, *mean, *square;
  const half *grad;
  const float *sum;
  half *copy;
};

/* decay = 1 - lr * weight decay; rate = lr / (1 - beta1^t), root = 1 / sqrt(1 - beta2^t). */
struct adam {
  float factor, decay, beta1, beta2, rate, root, eps;
};

static void move(int64_t start, int64_t stop, const struct moved *at, struct adam a, const half *grad) {
  float *restrict weight = at->weight, *restrict mean = at->mean, *restrict square = at->square;
  const float *restrict sum = at->sum;
  half *restrict copy = at->copy;
#pragma omp simd
  for (int64_t i = start; i < stop; i++) {
    float slope = (grad ? widen(grad[i]) : sum[i]) * a.factor;
    float first = mean[i] + (slope - mean[i]) * (1.0f - a.beta1);
    float second = square[i] * a.beta2 + slope * slope * (1.0f - a.beta2);
    float made = weight[i] * a.decay - a.rate * first / (sqrtf(second) * a.root + a.eps);
    mean[i] = first;
    square[i] = second;
    weight[i] = made;
    copy[i] = narrow(made);
  }
}

void adamw(int64_t weights, const struct moved *moved, const struct adam *adam) {
#pragma omp parallel
  for (const struct moved *at = moved; at < moved + weights; at++) {
#pragma omp for schedule(static) nowait
    for (int64_t start = 0; start < at->count; start += PIECE) {
      const int64_t stop = start + PIECE < at->count ? start + PIECE : at->count;
      if (at->grad)
        move(start, stop, at, *adam, at->grad);
      else
        move(start, stop, at, *adam, NULL);
    }
  }
}
