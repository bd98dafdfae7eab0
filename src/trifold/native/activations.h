/* Activation functions of 16 numbers and their derivatives, near enough for what is rounded to bfloat16 next. */

enum { STRAIGHT, GELU_TANH, RELU, GELU, SILU };

/* 2^t to 1e-5 of itself, for t of -126 and more; what is less counts as that. */
INLINE __m512 power_of_2(__m512 t) {
  t = _mm512_max_ps(_mm512_set1_ps(-126.0f), t); /* in this order what is no number stays so */
  __m512 whole = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), rest = _mm512_sub_ps(t, whole);
  __m512 series = _mm512_fmadd_ps(rest, _mm512_set1_ps(0.0096181291f), _mm512_set1_ps(0.05550411f));
  series = _mm512_fmadd_ps(rest, series, _mm512_set1_ps(0.24022651f));
  series = _mm512_fmadd_ps(rest, series, _mm512_set1_ps(0.69314718f));
  series = _mm512_fmadd_ps(rest, series, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(series, whole);
}

/* 1 / (1 + 2^t), to 1e-4 of itself. */
INLINE __m512 share_of(__m512 t) {
  return _mm512_rcp14_ps(_mm512_add_ps(_mm512_set1_ps(1.0f), power_of_2(_mm512_min_ps(_mm512_set1_ps(126.0f), t))));
}

/* e^(-x^2 / 2), and the share of a normal distribution below x (Abramowitz & Stegun 1964, 7.1.26), to 1e-6. */
INLINE __m512 share_below(__m512 x, __m512 *bell) {
  __m512 zero = _mm512_setzero_ps(), far = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.23164189f));
  __m512 below = _mm512_add_ps(_mm512_set1_ps(1.0f), far), t = _mm512_rcp14_ps(below);
  t = _mm512_mul_ps(t, _mm512_fnmadd_ps(below, t, _mm512_set1_ps(2.0f)));
  *bell = power_of_2(_mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.72134752f)));
  __m512 series = _mm512_fmadd_ps(t, _mm512_set1_ps(0.53070271f), _mm512_set1_ps(-0.72657601f));
  series = _mm512_fmadd_ps(t, series, _mm512_set1_ps(0.71070687f));
  series = _mm512_fmadd_ps(t, series, _mm512_set1_ps(-0.14224837f));
  series = _mm512_fmadd_ps(t, series, _mm512_set1_ps(0.12741479f));
  __m512 tail = _mm512_mul_ps(_mm512_mul_ps(t, series), *bell);
  return _mm512_mask_sub_ps(tail, _mm512_cmp_ps_mask(x, zero, _CMP_GT_OQ), _mm512_set1_ps(1.0f), tail);
}

/* The share of x that GELU with tanh lets pass (Hendrycks & Gimpel 2016): 1 / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3). */
INLINE __m512 gelu_share(__m512 x, __m512 square) {
  return share_of(_mm512_mul_ps(x, _mm512_fmadd_ps(square, _mm512_set1_ps(-0.10294324f), _mm512_set1_ps(-2.3022082f))));
}

INLINE __m512 bend(int64_t kind, __m512 x) {
  __m512 bell;
  switch (kind) {
  case RELU: return _mm512_max_ps(_mm512_setzero_ps(), x); /* in this order what is no number stays so */
  case GELU_TANH: return _mm512_mul_ps(x, gelu_share(x, _mm512_mul_ps(x, x)));
  case GELU: return _mm512_mul_ps(x, share_below(x, &bell));
  case SILU: return _mm512_mul_ps(x, share_of(_mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f))));
  default: return x;
  }
}

/* share + x * rise * share * (1 - share): the derivative of x times a logistic share whose argument rises so. */
INLINE __m512 logistic_slope(__m512 x, __m512 share, __m512 rise) {
  return _mm512_fmadd_ps(_mm512_mul_ps(x, rise), _mm512_fnmadd_ps(share, share, share), share);
}

INLINE __m512 slope_of(int64_t kind, __m512 x) {
  __m512 one = _mm512_set1_ps(1.0f), square = _mm512_mul_ps(x, x), bell;
  switch (kind) {
  case RELU: return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), one);
  case GELU_TANH: return logistic_slope(x, gelu_share(x, square), _mm512_fmadd_ps(square, _mm512_set1_ps(0.21406446f), _mm512_set1_ps(1.5957691f)));
  case SILU: return logistic_slope(x, share_of(_mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f))), one);
  case GELU: {
    __m512 share = share_below(x, &bell);
    return _mm512_fmadd_ps(_mm512_mul_ps(x, _mm512_set1_ps(0.39894228f)), bell, share);
  }
  default: return one;
  }
}
